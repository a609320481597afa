"""A version's way on a real engine: built, tried, pushed, rolled out under load, taken back when it is bad."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import docker
import pytest
from pyarrow import parquet

from bots.deploy import compose, image, platform, rollout, smoke_test
from bots.deploy.autoscale import Autoscaler
from bots.deploy.compose import Compose
from bots.deploy.docker import EngineError, connect
from bots.deploy.prometheus import parse_metrics
from bots.deploy.replicas import describe_copy
from bots.deploy.target import NotReady, State, Version
from bots.layout import Layout
from bots.monitoring.collection import collect_files
from bots.monitoring.engine_logs import open_engine_logs
from bots.settings import Canary, Ports, Replicas, Smoke
from fixtures import docker_engine as engines
from fixtures import versions
from fixtures.support import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.deploy.rollout import RolloutResult
    from fixtures.docker_engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

POLICY = Canary(share=0.3, requests=60, seconds=40, every=1)
FILES = Layout()
LIMIT = 200_000_000
# Two good versions; a test brings the one that does not run.
GOOD: dict[str, Callable[[Path], None] | None] = {"v1": None, "v2": versions.good}
# The words of a bot after which it is killed, and how many seconds later: also while a container is not yet ready.
KILLS = (
    ("starting {} as the canary", 0.0),
    ("starting {} as the canary", 0.7),
    ("watching it", 0.0),
    ("starting {} as the stable version", 0.0),
    ("starting {} as the stable version", 0.7),
)


@dataclass
class ImageBuilder:
    """An engine, a registry, a checkout with a model, and the images made of its variants so far."""

    engine: Engine
    root: Path
    client: docker.DockerClient
    references: dict[str, str]

    def build(
        self, name: str, change: Callable[[Path], None] | None = None, *, fresh: bool = False
    ) -> image.Image:
        """The image of the checkout, or of a variant of it."""
        root = versions.make_variant(self.root, self.root.parent / name, change) if change else self.root
        reference = f"{self.engine.registry}/octo-org/late-flights:{name}"
        return image.build_image(
            root, versions.make_lineage(root, name), reference,
            title="late-flights", onnx=FILES.onnx, tell=print, fresh=fresh,
        )  # fmt: skip

    def shipped(self, name: str, change: Callable[[Path], None] | None = None) -> str:
        """What the variant's image is called in the registry."""
        if name not in self.references:
            self.references[name] = image.push_image(self.build(name, change).reference, tell=print)
        return self.references[name]


@pytest.fixture(scope="module")
def builder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageBuilder]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environ.items():
            patch.setenv(name, value)
        root = versions.make_checkout(tmp_path_factory.mktemp("builder") / "checkout")
        with contextlib.closing(docker.from_env(timeout=120)) as client:
            yield ImageBuilder(engine, root, client, {})


@pytest.fixture(scope="module")
def seen(builder: ImageBuilder) -> smoke_test.Sample:
    return smoke_test.load_sample(builder.root, FILES, 50)


@pytest.fixture(scope="module")
def first(builder: ImageBuilder) -> image.Image:
    return builder.build("v1", fresh=True)


@dataclass
class Stage:
    """A stage on the engine, with callers."""

    target: Compose
    builder: ImageBuilder
    load: versions.Load

    def roll_out(
        self, name: str, change: Callable[[Path], None] | None = None, *, watch: bool = True
    ) -> RolloutResult:
        """Bring a variant; what became of it, with the figures printed."""
        reference = self.builder.shipped(name, change)
        outcome = rollout.roll_out(self.target, Version(reference, name), POLICY, watch=watch, tell=print)
        print(outcome)
        return outcome

    def get_other(self) -> Version:
        """Whichever of the two good versions does not run."""
        stable = self.target.get_state().stable
        name = "v2" if stable and stable.name == "v1" else "v1"
        return Version(self.builder.shipped(name, GOOD[name]), name)

    def count_answers(self) -> int:
        """How many requests the callers got answered until now."""
        return self.load.answers["200"]

    def containers(self) -> list[str]:
        """The services of the stage's containers, whatever their state."""
        return sorted(one.labels["com.docker.compose.service"] for one in self.all())

    def ids(self) -> set[str]:
        """Which containers the stage has."""
        return {str(one.id) for one in self.all()}

    def all(self) -> list[docker.models.containers.Container]:
        label = f"com.docker.compose.project={self.target.name}"
        return list(self.builder.client.containers.list(all=True, filters={"label": label}))


@pytest.fixture(scope="module")
def stage(builder: ImageBuilder, first: image.Image, seen: smoke_test.Sample) -> Iterator[Stage]:
    port = engines.find_free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORT", str(port))
        target = Compose(TEMPLATE / "deploy", "late-flights-production", builder.client, tell=print, ready=20)
        load = versions.Load(port, seen.rows)
        staged = Stage(target, builder, load)
        try:
            assert staged.roll_out("v1").done == "deployed"
            with load:
                yield staged
        finally:
            for container in staged.all():
                container.remove(force=True, v=True)


def test_the_image_is_at_most_200_mb_above_its_base(builder: ImageBuilder, first: image.Image) -> None:
    base = builder.client.images.get(engines.BASE).attrs["Size"]
    print(
        f"{(first.size - base) / 1e6:.0f} MB above a base of {base / 1e6:.0f} MB, built in {first.seconds:.0f} s"
    )
    assert first.size - base <= LIMIT


def test_the_same_inputs_give_the_same_image_without_any_cache(
    builder: ImageBuilder, first: image.Image
) -> None:
    again = builder.build("v1", fresh=True)
    print(f"cold: {first.seconds:.0f} s at first, {again.seconds:.0f} s without a cache")
    assert again.layers == first.layers
    if int(builder.client.version()["Version"].split(".")[0]) >= 23:
        # An older engine dates the image's description by its own clock, whatever it is told.
        assert again.id == first.id


def test_the_image_carries_its_lineage_and_its_bill_of_materials(
    builder: ImageBuilder, first: image.Image
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = builder.client.images.get(first.reference)
    labels = found.labels
    assert labels["org.opencontainers.image.version"] == "v1"
    assert labels["org.opencontainers.image.revision"] == first.lineage.commit
    assert labels["model.onnx"] == first.lineage.onnx
    assert labels["model.approvers"] == "grace"
    assert found.attrs["Config"]["User"] == "10001:10001"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(first.bill.decode()) is None
    listed = {one["name"]: one for one in json.loads(first.bill)["components"]}
    assert "onnxruntime" in listed
    assert "scikit-learn" not in listed
    assert listed["late-flights-model"]["hashes"][0]["content"] == first.lineage.onnx.removeprefix("sha256:")


def test_a_good_image_passes_every_check(first: image.Image, seen: smoke_test.Sample) -> None:
    checks = smoke_test.run_smoke_test(first.reference, seen, Smoke(), tell=print)
    print(*checks, sep="\n")
    assert [check.name for check in checks] == [
        "unprivileged",
        "ready",
        "answers",
        "refuses bad input",
        "stops",
        "log",
    ]
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (versions.never_ready, "ready", "was replaced or damaged"),
        (versions.crash_loop, "ready", "unknown field `nonsense`"),
        (versions.skewed, "answers", "apart"),
    ],
    ids=["never ready", "ends at once", "another model"],
)
def test_a_bad_image_does_not_leave(
    builder: ImageBuilder, seen: smoke_test.Sample, change: Callable[[Path], None], name: str, said: str
) -> None:
    built = builder.build(change.__name__, change)
    checks = smoke_test.run_smoke_test(built.reference, seen, Smoke(ready=5), tell=print)
    failed = [check for check in checks if check.passed is False]
    assert name in [check.name for check in failed]
    assert said in " ".join(check.words for check in failed)


def test_pushing_twice_gives_the_same_digest(builder: ImageBuilder, first: image.Image) -> None:
    reference = image.push_image(first.reference, tell=print)
    assert reference.startswith(f"{builder.engine.registry}/octo-org/late-flights@sha256:")
    assert image.push_image(first.reference, tell=print) == reference


def test_a_registry_that_wants_a_login_is_told_in_words(builder: ImageBuilder, first: image.Image) -> None:
    with contextlib.ExitStack() as ends:
        secrets = builder.engine.folder / "htpasswd"
        secrets.write_text("nobody:$2y$05$" + "a" * 53 + "\n")
        closed = engines.start_registry(
            builder.engine.folder, ends, auth={"htpasswd": {"realm": "test", "path": str(secrets)}}
        )
        builder.client.images.get(first.reference).tag(f"{closed}/late-flights", "v1")
        with pytest.raises(EngineError, match=r"refused the login.*docker login"):
            image.push_image(f"{closed}/late-flights:v1", tell=print)


def test_a_build_that_fails_says_its_last_words(builder: ImageBuilder) -> None:
    def broken(root: Path) -> None:
        with (root / "serving/Dockerfile").open("a") as file:
            file.write("RUN echo the disk is on fire && false\n")

    with pytest.raises(EngineError, match="the disk is on fire"):
        builder.build("broken", broken)


def test_a_good_version_takes_over_without_a_failed_request(stage: Stage) -> None:
    other = stage.get_other()
    outcome = stage.roll_out(other.name)
    assert outcome.done == "promoted", outcome
    assert outcome.decision is not None
    assert outcome.decision.action == "promote"
    assert outcome.runs == other
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}
    assert stage.load.answers["200"] > POLICY.requests


def test_a_version_that_runs_already_is_left_alone(stage: Stage) -> None:
    runs, before = stage.target.get_state().stable, stage.ids()
    assert runs is not None
    outcome = stage.roll_out(runs.name)
    assert outcome.done == "runs already"
    assert stage.ids() == before


@pytest.mark.parametrize(
    ("change", "why", "ready"),
    [
        (versions.never_ready, "is not ready after", 6.0),
        (versions.crash_loop, "ended by itself with 1", 20.0),
        (versions.slow, "p95 latency", 20.0),
        (versions.failing, "errors", 20.0),
        (versions.crashing, "restarted", 20.0),
        (versions.skewed, "predictions: stability index", 20.0),
    ],
    ids=["never ready", "crash loop", "slow", "errors", "crashes under load", "skewed"],
)
def test_a_bad_version_is_rolled_back_by_itself(
    stage: Stage, change: Callable[[Path], None], why: str, ready: float
) -> None:
    before = stage.target.get_state().stable
    waiting = replace(stage, target=replace(stage.target, ready=ready))
    outcome = waiting.roll_out(change.__name__, change)
    assert outcome.done == "rolled back", outcome
    assert why in outcome.words
    assert outcome.runs == before
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def test_a_further_model_is_a_service_of_its_own_and_neither_touches_the_other(
    stage: Stage, builder: ImageBuilder
) -> None:
    ports = Ports(staging=engines.find_free_port(), production=engines.find_free_port())
    name, before = "late-flights--upsell-production", stage.ids()
    v1, v2 = (
        Version(builder.shipped(name, change), name) for name, change in (("v1", None), ("v2", versions.good))
    )
    bad = Version(builder.shipped("crash_loop", versions.crash_loop), "crash_loop")

    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports.production}/model", timeout=10) as answer:
            return str(json.load(answer)["version"])

    with platform.open_compose(
        TEMPLATE, "late-flights", "production", tell=print, model="upsell", ports=ports
    ) as target:
        target.ready = 20
        own = Stage(target, builder, stage.load)
        try:
            assert rollout.roll_out(target, v1, POLICY, watch=False, tell=print).done == "deployed"
            assert ask() == "v1"
            assert rollout.roll_out(target, bad, POLICY, watch=False, tell=print).done == "rolled back"
            assert ask() == "v1"
            assert rollout.roll_out(target, v2, POLICY, watch=False, tell=print).done == "promoted"
            assert ask() == "v2"
            assert own.containers() == ["proxy", "stable"]
            assert target.scale(2) == 1
            ports = Ports(staging=ports.staging, production=engines.find_free_port())
            target.port = target.environ["PORT"] = str(ports.production)  # type: ignore[index]
            target.prepare()
            assert ask() == "v2", "the proxy moves where its port did"
            (volume,) = {
                one["Name"] for there in own.all() for one in there.attrs["Mounts"] if one.get("Name")
            }
            assert volume == f"{name}_stable-log"
            # What Prometheus asks for, where it is in several models' networks.
            (proxy,) = (one for one in own.all() if one.labels["com.docker.compose.service"] == "proxy")
            found = proxy.exec_run(["getent", "ahosts", f"stable.{name}_inside"])
            assert len({line.split()[0] for line in found.output.decode().splitlines()}) == 2, found.output
        finally:
            for container in own.all():
                container.remove(force=True, v=True)
    assert stage.ids() == before
    assert stage.load.failed == {}


def test_a_version_that_cannot_be_judged_yet_is_paused_under_load_and_goes_on_with_what_came_since(
    stage: Stage,
) -> None:
    reference = stage.get_other()
    hasty = Canary(share=0.3, requests=6000, seconds=1, every=1)
    paused = rollout.roll_out(stage.target, reference, hasty, watch=True, tell=print)
    assert (paused.done, paused.watch is not None) == ("paused", True), paused
    assert stage.containers() == ["canary", "proxy", "stable"]
    again = rollout.roll_out(stage.target, reference, hasty, watch=True, tell=print, paused=paused.watch)
    assert (again.done, again.words.split()[:2]) == ("paused", ["cannot", "tell:"]), again
    willing = Canary(share=0.3, requests=60, seconds=1, every=1)
    deadline = time.monotonic() + 120
    while again.done == "paused" and time.monotonic() < deadline:
        time.sleep(2)
        again = rollout.roll_out(stage.target, reference, willing, watch=True, tell=print, paused=again.watch)
    assert (again.done, again.runs) == ("promoted", reference), again
    assert again.decision is not None
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def test_a_paused_version_is_taken_out_without_a_failed_request(stage: Stage) -> None:
    hasty = Canary(share=0.3, requests=6000, seconds=1, every=1)
    assert rollout.roll_out(stage.target, stage.get_other(), hasty, watch=True, tell=print).done == "paused"
    stage.target.withdraw()
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def test_a_version_is_a_shadow_first_whose_answers_are_in_its_own_log_and_go_to_nobody(stage: Stage) -> None:
    reference = stage.get_other()
    hasty = Canary(share=0.3, requests=4000, seconds=1, every=1)
    paused = rollout.roll_out(stage.target, reference, hasty, watch=True, tell=print, shadow=True)
    assert (paused.done, paused.watch and paused.watch.role) == ("paused", "shadow"), paused
    assert stage.containers() == ["proxy", "shadow", "stable"]
    assert stage.target.get_state().shadow == reference
    (shadow,) = (one for one in stage.all() if one.labels["com.docker.compose.service"] == "shadow")
    count = (
        "import pathlib; found = pathlib.Path('/var/log/predictions').rglob('*.jsonl'); "
        "print(sum(len(path.read_bytes().splitlines()) - 1 for path in found))"
    )
    wait_until(lambda: int(shadow.exec_run(["/opt/venv/bin/python", "-c", count]).output) > 50)
    assert {mount["Name"] for mount in shadow.attrs["Mounts"]} == {f"{stage.target.name}_shadow-log"}
    done = rollout.roll_out(
        stage.target, reference, POLICY, watch=True, tell=print, shadow=True, paused=paused.watch
    )
    assert (done.done, done.runs) == ("promoted", reference), done
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


@pytest.mark.parametrize("change", [versions.failing, versions.skewed], ids=["errors", "skewed"])
def test_a_bad_shadow_is_taken_out_and_nobody_ever_got_its_answer(
    stage: Stage, change: Callable[[Path], None]
) -> None:
    before = stage.target.get_state().stable
    reference = Version(stage.builder.shipped(change.__name__, change), change.__name__)
    outcome = rollout.roll_out(stage.target, reference, POLICY, watch=True, tell=print, shadow=True)
    assert (outcome.done, outcome.runs) == ("rolled back", before), outcome
    assert outcome.words.startswith("as a shadow: ")
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def test_an_earlier_version_comes_back_without_a_build_or_a_failed_request(stage: Stage) -> None:
    stage.roll_out("v2", versions.good, watch=False)
    outcome = stage.roll_out("v1", watch=False)
    assert outcome.done == "promoted"
    assert outcome.runs is not None
    assert outcome.runs.name == "v1"
    assert outcome.previous is not None
    assert outcome.previous.name == "v2"
    assert stage.load.failed == {}


def test_a_version_comes_to_a_host_over_ssh_and_back_while_callers_notice_nothing(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, other = stage.target.get_state().stable, stage.get_other()
    assert before is not None
    with engines.open_over_ssh(stage.builder.engine, tmp_path) as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with connect() as client:
            far = replace(stage, target=replace(stage.target, client=client))
            assert far.roll_out(other.name).done == "promoted"
            assert far.roll_out(versions.failing.__name__, versions.failing).done == "rolled back"
            assert far.roll_out(before.name, watch=False).done == "promoted"
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def list_requests(target: Compose, role: Literal["stable", "canary"] = "stable") -> list[int]:
    """How many requests each of a version's containers answered."""
    return sorted(parse_metrics(text).requests for text in target.load_metrics(role).values())


def wait_until(true: Callable[[], bool]) -> None:
    """Wait until it is so, a minute at most."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_one_replica_becomes_three_and_one_again_and_each_answers_while_callers_notice_nothing(
    stage: Stage,
) -> None:
    state = stage.target.get_state()
    assert stage.target.scale(3) == 1
    assert stage.containers() == ["proxy", "stable", "stable", "stable"]
    # Counters are read one after the other: what is answered meanwhile may be in one of them or not.
    earliest, before, asked = stage.count_answers(), sum(list_requests(stage.target)), stage.count_answers()
    wait_until(lambda: min(list_requests(stage.target)) > 20)
    after, counted, latest = stage.count_answers(), list_requests(stage.target), stage.count_answers()
    # The counters are added up: whoever answered, each request is counted once. Each caller may have one under way.
    assert after - asked - 20 <= sum(counted) - before <= latest - earliest + 20
    assert stage.target.scale(1) == 3
    assert stage.containers() == ["proxy", "stable"]
    assert stage.target.get_state() == state
    assert stage.load.failed == {}


def test_a_replica_that_is_killed_costs_no_request_and_is_replaced(stage: Stage) -> None:
    stage.target.scale(2)
    killed = next(one for one in stage.all() if one.labels["com.docker.compose.service"] == "stable")
    killed.kill()
    wait_until(lambda: stage.target.count_replicas() == 1)
    # The other one answers on.
    answered = stage.count_answers()
    wait_until(lambda: stage.count_answers() > answered + 50)
    assert stage.target.scale(2) == 1
    assert killed.id not in stage.ids()
    assert stage.containers() == ["proxy", "stable", "stable"]
    wait_until(lambda: min(list_requests(stage.target)) > 5)
    stage.target.scale(1)
    assert stage.load.failed == {}


def test_a_replica_that_does_not_become_ready_is_taken_away_and_the_others_answer_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, before = stage.target.get_state().stable, stage.ids()
    assert runs is not None

    def describe_sick(*words: Any) -> tuple[str, dict[str, Any]]:
        name, found = describe_copy(*words)
        return name, {**found, "Env": [*found["Env"], "SERVING_WORKERS=none"]}

    monkeypatch.setattr(compose, "describe_copy", describe_sick)
    with pytest.raises(NotReady, match=f"{runs.name} ended by itself"):
        stage.target.scale(2)
    assert stage.ids() == before
    assert stage.load.failed == {}


def test_load_starts_replicas_and_its_end_stops_them_while_callers_notice_nothing(
    stage: Stage, seen: smoke_test.Sample
) -> None:
    # A model that takes its time: what callers ask stays in work.
    stage.roll_out("slow", versions.slow, watch=False)
    policy = Replicas(least=1, most=3, in_work=4, every=1, patience=2)
    target = replace(stage.target, replicas=policy)
    scaler = Autoscaler(lambda: contextlib.nullcontext(target), print, time.monotonic)

    def follow(number: int) -> None:
        deadline = time.monotonic() + 60
        while target.count_replicas() != number:
            assert time.monotonic() < deadline, target.load_traffic()
            time.sleep(policy.every)
            scaler.look()

    with versions.Load(int(os.environ["PORT"]), seen.rows, callers=9, pause=0.0) as more:
        follow(3)
        assert stage.containers() == ["proxy", "stable", "stable", "stable"]
        assert min(list_requests(target)) > 0
    follow(1)
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == more.failed == {}


def test_a_new_version_and_the_one_before_have_as_many_replicas_as_the_one_that_ran(stage: Stage) -> None:
    other = stage.get_other()
    many = replace(stage, target=replace(stage.target, replicas=Replicas(least=1, most=2)))
    many.target.scale(2)
    assert many.roll_out(other.name).done == "promoted"
    assert stage.containers() == ["proxy", "stable", "stable"]
    assert {one.labels.get("release.version") for one in stage.all()} - {None, ""} == {other.name}
    assert many.roll_out(versions.failing.__name__, versions.failing).done == "rolled back"
    assert stage.containers() == ["proxy", "stable", "stable"]
    # The limits of params.yaml hold at the next release.
    last = stage.get_other()
    assert stage.roll_out(last.name, watch=False).done == "promoted"
    assert stage.containers() == ["proxy", "stable"]
    more = replace(stage, target=replace(stage.target, replicas=Replicas(least=2, most=2)))
    assert more.roll_out(last.name).done == "runs already"
    assert stage.containers() == ["proxy", "stable", "stable"]
    stage.target.scale(1)
    assert stage.load.failed == {}


BOT = """
import sys
from pathlib import Path
import docker
from bots.deploy import rollout
from bots.deploy.compose import Compose
from bots.deploy.target import Version
from bots.settings import Canary
folder, name, reference, version = sys.argv[1:]
target = Compose(Path(folder), name, docker.from_env(timeout=120), tell=print, ready=20)
policy = Canary(share=0.3, requests=30, seconds=40, every=0.5)
rollout.roll_out(target, Version(reference, version), policy, watch=True, tell=lambda words: print(words, flush=True))
"""


@pytest.mark.parametrize(("step", "later"), KILLS)
def test_a_bot_killed_anywhere_and_run_again_ends_in_the_same_state(
    stage: Stage, step: str, later: float
) -> None:
    other = stage.get_other()
    words = [
        sys.executable,
        "-uc",
        BOT,
        str(stage.target.folder),
        stage.target.name,
        other.reference,
        other.name,
    ]
    environment = {**os.environ, "PYTHONPATH": str(TEMPLATE)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as bot:
        assert bot.stdout is not None
        assert any(step.format(other.name) in line for line in bot.stdout)
        time.sleep(later)
        bot.kill()

    subprocess.run(words, check=True, env=environment)

    assert stage.target.get_state() == State(other)
    assert stage.containers() == ["proxy", "stable"]
    assert stage.load.failed == {}


def test_the_watch_counts_each_answer_once_also_of_versions_that_run_no_more(
    stage: Stage, tmp_path: Path
) -> None:
    """The last test of this stage: nobody answers after it."""
    deadline = time.monotonic() + 60
    while stage.load.answers["200"] < 50:
        assert time.monotonic() < deadline, stage.load.answers
        time.sleep(0.1)
    for container in stage.all():
        if container.labels["com.docker.compose.service"] != "proxy":
            container.stop()
    answered = stage.load.answers["200"]
    with open_engine_logs(stage.builder.client, stage.target.name) as source:
        found = collect_files(source, [], tmp_path, tell=print, now=time.time())
        ledger = [one.file for one in found.new]
        assert collect_files(source, ledger, tmp_path, tell=print, now=time.time()).new == []
    ids = [
        name
        for one in found.new
        for name in parquet.read_table(one.path, columns=["prediction:id"]).column(0).to_pylist()
    ]
    assert found.left == []
    assert len(ids) == len(set(ids)) == sum(file.rows for file in ledger)
    assert len(ids) >= answered
    print(f"{answered} answers, {len(ids)} rows in {len(ledger)} tables of {found.seen} files")
