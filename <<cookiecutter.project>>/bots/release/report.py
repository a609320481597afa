"""Renders what a release says on its pull request and in an issue, from the registry and from what failed.

What a tired person must know stands first: what runs where, and since when. Then how to go back; figures are folded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from bots.deploy.checks import Check, list_failed
from bots.naming import ALONE, Naming
from bots.release import versions
from bots.release.versions import STAGES, Assignment, Registry, Release, Stage
from bots.render import markdown as md
from bots.render import words
from bots.render.escape import check_address, escape_code, escape_prose, escape_text
from bots.render.numbers import format_value, pluralize
from bots.stats import metrics

if TYPE_CHECKING:
    from bots.deploy.platform import Platform
    from bots.release.failure import Failure, Kind

WORD: Final = "model-release"
MARK: Final = f"<!-- {WORD} -->"
"""What a comment or an issue of a project begins with that is alone in its repository."""
LABEL: Final = "release"
MOST_SKIPPED: Final = 20
BY_HAND: Final = "Actions > {workflow} > Run workflow"

_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:_-]{0,200}@sha256:[0-9a-f]{64}")
SIGNS = {True: words.STATES["ok"], False: words.STATES["bad"], None: words.STATES["note"]}
DONE: dict[Kind, str] = {
    "refused": "is not released",
    "unverified": "did not pass its verification",
    "image": "has no image that works",
    "rolled back": "was rolled back",
    "paused": "is paused",
    "broken": "could not be released",
}
ADVICE: dict[Kind, str] = {
    "refused": "Nothing was built. The other way is a new pull request whose review passes. Who takes this one on "
    "stands in its version from then on.",
    "unverified": "Nothing was built. What main holds is not what the review judged: find out who changed what, then "
    "open a pull request that puts it right (`dvc repro`, commit dvc.lock), which is reviewed and released anew.",
    "image": "Nothing was pushed or deployed. The run's log has the last lines of the build or of the container. Mend "
    "it in a new pull request; if the machine was at fault, run the job again.",
    "rolled back": "Nobody has to act in a hurry. The model or the service has to change in a new pull request, which "
    "is reviewed and released anew. If the cause lies outside (the machine, a dependency), put it in place by hand: "
    "{where}, with {version} as the version to put back.",
    "paused": "It keeps its share of the requests (as a shadow: copies), and the version before has the rest. It is "
    "judged again by all that came since it began: once a day, and whenever the job runs. Whoever knows more decides, "
    "by a comment here: `{promote} why` makes it the one that runs, `{rollback} why` takes it out; or {where}.",
    "broken": "Run the job again: it goes on where it stopped. What was done stays done, and is not done twice.",
}


STAGE_ADVICE: Final = (
    "The version is built, and nothing was deployed now. Find out what has changed since; once it holds again, run the "
    "job again: it goes on there. Or have the change reviewed anew in a new pull request."
)


def make_mark(naming: Naming) -> str:
    """Make the line that a comment or an issue of a project and its model begins with; GitHub does not show it."""
    return f"<!-- {naming.add_to_mark(WORD)} -->"


def is_own(body: str, naming: Naming = ALONE) -> bool:
    """Whether a comment or issue begins as the bots' own of this project and model do."""
    return body.startswith(make_mark(naming))


def describe_skipped(registry: Registry) -> list[str]:
    """Say which tags of the registry are not believed, and why: a line each, the first few of many."""
    said = [f"the tag {one.name[:100]} {one.reason}; it was skipped" for one in registry.skipped]
    if (more := len(said) - MOST_SKIPPED) > 0:
        said = [*said[:MOST_SKIPPED], f"{more} more tags were skipped"]
    if any(one.reason.startswith(("has no signature", "is signed by")) for one in registry.skipped):
        said.append(
            "`python -m bots sign` lists the tags that lack only a signature, for a person who knows them"
        )
    return said


def render_released(
    registry: Registry,
    release: Release,
    platform: Platform,
    run: str | None = None,
) -> str:
    """Render the comment of a version that was released, as far as it came."""
    return _assemble(
        registry.naming,
        f"{release.version}: {_name_place(registry, release, platform)}",
        _render_alert("TIP", _render_headline(registry, release, platform)),
        _render_stages(registry, release) if platform != "none" else "",
        _render_way_back(registry, release) if platform != "none" else "",
        md.fold(
            _count_passed(_list_checks(registry, release)), _render_checks(_list_checks(registry, release))
        ),
        md.fold("What it is made of, and who answers for it", _render_origin(release)),
        _render_skipped(registry),
        _render_footer(run, naming=registry.naming),
    )


def render_failure(
    registry: Registry,
    failure: Failure,
    platform: Platform,
    run: str | None = None,
    runbook: str | None = None,
) -> str:
    """Render the comment, and the issue, of a release that failed."""
    subject = f"**{escape_text(failure.name)} {describe_outcome(failure)}"
    place = f" in {failure.stage}" if failure.stage and failure.kind in ("rolled back", "paused") else ""
    said = [
        f"{subject}{place}.** {escape_prose(failure.words, 600)}.",
        *_render_production(registry, platform),
    ]
    wrong = list_failed(list(failure.checks))
    advice = STAGE_ADVICE if _is_refused_late(failure) else _give_advice(failure, registry.naming)
    return _assemble(
        registry.naming,
        f"{failure.name}: {describe_outcome(failure)}",
        _render_alert("WARNING" if failure.kind in ("refused", "paused") else "CAUTION", md.join_lines(said)),
        _render_checks([one for one in failure.checks if one.passed is None])
        if failure.kind == "paused"
        else "",
        _render_checks(wrong),
        f"**What to do** {escape_prose(advice)}",
        md.fold(_count_passed(failure.checks), _render_checks(failure.checks)),
        _render_footer(run, runbook, registry.naming),
    )


def _give_advice(failure: Failure, naming: Naming) -> str:
    words = {verb: naming.format_command(verb) for verb in ("promote", "rollback")}
    return ADVICE[failure.kind].format(version=failure.name, where=_name_button(naming), **words)


def _name_button(naming: Naming) -> str:
    """Name where a person starts the workflow by hand, and what to choose there for a further model."""
    with_model = f" with the model {naming.model}" if naming.model else ""
    return BY_HAND.format(workflow=naming.title_workflow("Deploy")) + with_model


def describe_outcome(failure: Failure) -> str:
    """Say in a few words what became of a release that failed."""
    return f"does not go to {failure.stage}" if _is_refused_late(failure) else DONE[failure.kind]


def _is_refused_late(failure: Failure) -> bool:
    """Whether a version was built, and then refused before a stage."""
    return failure.kind == "refused" and failure.stage is not None


def render_replaced(registry: Registry, release: Release, stage: Stage, run: str | None = None) -> str:
    """Render the comment of a version that a person took out of a stage."""
    now = registry.get_running(stage)
    assert now is not None
    said = [
        f"**{escape_text(release.version)} is not in {stage} any more.** {escape_text(now.by, 60)} put "
        f"{escape_text(now.version)} back, {_format_time(now.at)}."
    ]
    if now.reason:
        said.append(f"Why: {escape_text(now.reason, 500)}")
    return _assemble(
        registry.naming,
        f"{release.version}: taken out of {stage}",
        _render_alert("WARNING", md.join_lines(said)),
        _render_stages(registry, release),
        f"**To put it back** {_name_button(registry.naming)}: rollback, {escape_text(release.version)}, {stage}.",
        md.fold("What it is made of, and who answers for it", _render_origin(release)),
        _render_footer(run, naming=registry.naming),
    )


def render_displaced(
    registry: Registry, release: Release, newer: Release, stage: Stage, run: str | None = None
) -> str:
    """Render the comment of a version that was paused in a stage until a newer one took its place."""
    said = [
        f"**{escape_text(release.version)} is not in {stage} any more.** It was paused there, and gave way to "
        f"{escape_text(newer.version)}, which holds its change as well.",
        *_render_production(registry, "compose"),
    ]
    return _assemble(
        registry.naming,
        f"{release.version}: gave way to {newer.version}",
        _render_alert("NOTE", md.join_lines(said)),
        md.fold("What it is made of, and who answers for it", _render_origin(release)),
        _render_footer(run, naming=registry.naming),
    )


def render_settled(release: Release, place: str, body: str, naming: Naming = ALONE) -> str:
    """Render the closed issue: that it is settled, above what it said."""
    mark = make_mark(naming)
    head = f"{mark}\n> [!TIP]\n> Settled: **{escape_text(release.version)}** is {escape_text(place)}.\n\n"
    return head + body.removeprefix(mark).lstrip("\n")


def render_table(registry: Registry) -> str:
    """Render the registry as a table of plain text, the newest version first."""
    if not registry.releases:
        return (
            f"No version yet: {_name_button(registry.naming)}, with the reason that it is the first model, makes one "
            "(docs/release.md)."
        )
    head = ["version", "where, since", "metric", "pull request", "approved by", "commit"]
    rows = [head, *(_list_cells(registry, release) for release in reversed(registry.releases))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _list_cells(registry: Registry, release: Release) -> list[str]:
    places = [
        f"{one.stage} {_format_time(registry.find_start(one.stage))}"
        for one in registry.list_stages(release.version)
    ]
    places += [f"paused in {stage} {_format_time(at)}" for stage, at in _list_pauses(registry, release)]
    where = ", ".join(places)
    metric = release.metrics.get(release.primary)
    shown = f"{metrics.find_label(release.primary)} {format_value(release.primary, metric)}"
    by = ", ".join(release.approvers) or (
        f"accepted by {release.accepted.by}" if release.accepted else "nobody"
    )
    pull = f"#{release.pull_request}" if release.pull_request else "none"
    return [release.version, where or "-", shown, pull, by, release.commit[:7]]


def _list_pauses(registry: Registry, release: Release) -> list[tuple[Stage, str]]:
    """The stages where a version is paused, and since when it is so."""
    pauses = [(stage, registry.get_paused(stage)) for stage in STAGES]
    return [
        (stage, versions.find_pause_start(registry, stage) or pause.at)
        for stage, pause in pauses
        if pause is not None and pause.paused == release.version
    ]


def _name_place(registry: Registry, release: Release, platform: Platform) -> str:
    if platform == "none":
        return "released"
    there = [one.stage for one in registry.list_stages(release.version)]
    return f"in {there[-1]}" if there else "built, not deployed"


def _render_headline(registry: Registry, release: Release, platform: Platform) -> str:
    name = f"**{escape_text(release.version)}"
    if platform == "none":
        return f"{name} is released.** {_explain_no_stage(registry.naming)}: {_render_image(release.image)}"
    there = [one.stage for one in registry.list_stages(release.version)]
    if not there:
        return f"{name} is built and pushed**, and in no stage now."
    if there[-1] == "production":
        return f"{name} runs in production** since {_format_time(registry.find_start('production'))}."
    since = _format_time(registry.find_start(there[-1]))
    said = f"{name} runs in {there[-1]}** since {since}, and is not in production yet."
    return md.join_lines([said, *_render_production(registry, platform)])


def _explain_no_stage(naming: Naming) -> str:
    if naming.model is None:
        return "This project deploys nothing itself"
    return f"It is deployed nowhere by the bots (models.{naming.model}.deploy in params.yaml is not there)"


def _render_production(registry: Registry, platform: Platform) -> list[str]:
    """What production runs, for people who read about another version."""
    if platform == "none":
        return []
    now = registry.get_running("production")
    if now is None:
        return ["Nothing runs in production yet."]
    said = [
        f"Production runs **{escape_text(now.version)}**, since {_format_time(registry.find_start('production'))}."
    ]
    if (pause := registry.get_paused("production")) and pause.paused:
        since = _format_time(versions.find_pause_start(registry, "production"))
        gets = "copies" if pause.watch and pause.watch.role == "shadow" else "a share"
        said.append(
            f"**{escape_text(pause.paused)}** is paused beside it with {gets} of the requests, since {since}."
        )
    if hold := registry.find_hold("production"):
        said.append(
            f"Nothing new comes in: {escape_text(hold.by, 60)} put production on hold, {_format_time(hold.at)}."
        )
    return said


def _render_stages(registry: Registry, release: Release) -> str:
    rows = []
    for stage in STAGES:
        now, ago = registry.get_running(stage), versions.find_previous(registry, stage)
        shown = (
            f"**{escape_text(now.version)}**"
            if now and now.version == release.version
            else escape_text(now.version)
            if now
            else "–"
        )
        since = _format_time(registry.find_start(stage)) if now else ""
        rows.append([stage, shown, since, escape_text(ago.version) if ago else "–"])
    return md.format_table([":stage", ":runs", ":since", ":before it"], rows)


def _render_way_back(registry: Registry, release: Release) -> str:
    now, ago = registry.get_running("production"), versions.find_previous(registry, "production")
    if now is None or now.version != release.version or ago is None:
        return ""
    command = escape_code(registry.naming.format_command("rollback", ago.version, "why"))
    button = f"{_name_button(registry.naming)}: rollback, {escape_text(ago.version)}"
    return f"**To go back** {command} in a comment here, or {button}. It takes no training and no building."


def _list_checks(registry: Registry, release: Release) -> list[Check]:
    """The checks of a version, from its bytes to how it did in each stage."""
    of_stages: list[Assignment] = [
        one
        for stage in STAGES
        for one in registry.list_assignments(stage)
        if one.version == release.version and one.checks
    ]
    return [
        *release.checks,
        *(_name_stage(one.stage, check) for one in of_stages[-2:] for check in one.checks),
    ]


def _name_stage(stage: str, check: Check) -> Check:
    return Check(f"{stage}: {check.name}", check.passed, words=check.words, figures=check.figures)


def _count_passed(checks: Sequence[Check]) -> str:
    good = sum(check.passed is True for check in checks)
    if good == len(checks):
        return f"All {good} checks passed" if checks else ""
    return f"{good} of {pluralize(len(checks), 'check')} passed"


def _render_checks(checks: Sequence[Check]) -> str:
    return md.join_lines(
        [
            f"{SIGNS[one.passed]} **{escape_text(one.name, 60)}** {escape_prose(one.words, 240)}"
            for one in checks
        ]
    )


def _render_skipped(registry: Registry) -> str:
    """The tags that are not believed, folded; nothing where there are none."""
    said = describe_skipped(registry)
    count = pluralize(len(registry.skipped), "tag")
    return md.fold(
        f"{count} of the registry not believed", md.join_lines([escape_prose(one, 300) for one in said])
    )


def _render_origin(release: Release) -> str:
    pull = (
        f"[#{release.pull_request}]({check_address(release.pull_request_url or '')})"
        if release.pull_request
        else "none"
    )
    approved = ", ".join(escape_text(name, 60) for name in release.approvers) or "nobody"
    merged = f", merged by {escape_text(release.merged_by, 60)}" if release.merged_by else ""
    told = [
        ("image", _render_image(release.image)),
        ("commit", escape_code(release.commit)),
        ("pull request", f"{pull}, approved by {approved}{merged}"),
        ("verdict", escape_text(release.verdict) if release.verdict else "none"),
        ("model", f"{escape_code(release.content.model)}, ONNX {escape_code(release.onnx[:19])}"),
        ("data", escape_code(release.data or "unknown")),
    ]
    if taken := release.accepted:
        although = f"<sub>although {escape_prose(taken.objection, 900)}</sub>"
        word = f"{escape_text(taken.by, 60)}: {escape_text(taken.reason, 500)} {although}"
        told.insert(0, ("accepted by", word))
    return md.format_table([":", ":"], [[name, value] for name, value in told])


def _render_image(reference: str) -> str:
    """An image's name for people to copy, where it looks like one."""
    return f"`{reference}`" if _IMAGE.fullmatch(reference) else escape_code(reference, 200)


def _format_time(moment: str | None) -> str:
    """`2026-02-02 02:02 UTC`."""
    return f"{moment[:10]} {moment[11:16]} UTC" if moment else "never"


def _render_alert(kind: str, body: str) -> str:
    return "> " + f"[!{kind}]\n{body}".replace("\n", "\n> ")


def _render_footer(run: str | None, runbook: str | None = None, naming: Naming = ALONE) -> str:
    if not run:
        return ""
    listing = escape_code(f"python -m bots models{naming.option}")
    parts = [f"[run]({check_address(run)})", f"every version: {listing}"]
    if runbook:
        parts.append(f"[what to do]({check_address(f'{runbook}#release')})")
    return f"<sub>{' · '.join(parts)}</sub>"


def _assemble(naming: Naming, title: str, *parts: str) -> str:
    head = f"{make_mark(naming)}\n### {naming.add_to_title('Release')} {escape_text(title, 120)}"
    return "\n\n".join([head, *(part for part in parts if part)]) + "\n"


def encode_registry(registry: Registry) -> str:
    """The registry as JSON: each version with its stages, the newest first."""
    listed = [
        {
            "release": one,
            "stages": registry.list_stages(one.version),
            "paused": [stage for stage, _ in _list_pauses(registry, one)],
        }
        for one in reversed(registry.releases)
    ]
    return msgspec.json.encode(listed).decode()
