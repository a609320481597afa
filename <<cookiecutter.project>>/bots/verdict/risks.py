"""Finds what a change does to a project's risks, from the files of both sides, and not from what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from bots.decoding import YAML_ERRORS, load_yaml
from bots.risks import QUESTIONS, RISKS, Risks, RisksError, parse_risks
from bots.settings import Settings, SettingsError, parse_models
from bots.stats import metrics

if TYPE_CHECKING:
    from bots.evidence import SliceComparison

Kind = Literal["personal data", "slices", "fallback", "owner", "alarms", "canary", "answers", "cannot tell"]
DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 365}
# A name that tells about a person by itself. Words are whole: `agent` is none.
_PERSONAL = re.compile(
    r"(?:^|[_\W])(?:(?:first|fore|last|sur|full|maiden|user|vor|nach)[_\W]?name|e?_?mail|phone|telephone|telefon|"
    r"mobile|birth(?:day|date)?|geburtsdatum|dob|age|gender|geschlecht|sex|ethnicity|race|religion|nationality|ssn|"
    r"passport|iban|street|strasse|address|anschrift|zip[_\W]?code|postcode|plz|"
    r"marital[_\W]?status|disability|diagnosis)(?:$|[_\W\d])",
    re.IGNORECASE,
)
_OWNER = re.compile(r"(?:^|(?<=\s))@[A-Za-z0-9][A-Za-z0-9-]*(?:/[A-Za-z0-9._-]+)?|[\w.+-]+@[\w.-]+\.\w+")
_WORD = re.compile(r"\w+")
_WORDS = re.compile(r"\w+(?:[ .-]\w+)+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def sounds_personal(name: str) -> bool:
    """Whether a column's name tells about a person by itself: `home_address`, `homeAddress` and `Home address` do."""
    return _PERSONAL.search(_HUMP.sub("_", name)) is not None


@dataclass(frozen=True)
class RiskFiles:
    """The texts of one side; None where it has no such file. `watch` is the workflow that watches production."""

    risks: str | None = None
    schema: str | None = None
    params: str | None = None
    owners: str | None = None
    watch: str | None = None


@dataclass(frozen=True)
class Touch:
    """What a change does to one risk, in words; names stand in backticks."""

    kind: Kind
    words: str


class _Unreadable(Exception):
    """A side's file cannot be read; the message says which."""


def find_touches(before: RiskFiles, now: RiskFiles) -> list[Touch]:
    """Find what a change does to the risks; `before` is main's side. What cannot be told is told as that."""
    found: list[Touch] = []
    for look in (_find_personal, _find_watched_less, _find_fallback, _find_owners, _find_answers):
        try:
            found += look(before, now)
        except _Unreadable as error:
            found.append(Touch("cannot tell", str(error)))
    return list(dict.fromkeys(found))


def _load(text: str | None, name: str) -> Any:
    try:
        return load_yaml(text or "") or {}
    except YAML_ERRORS:
        raise _Unreadable(f"{name} cannot be read, so what it changes is not known") from None


def _load_section(text: str | None, name: str, *keys: str) -> Any:
    found = _load(text, name)
    for key in keys:
        if not isinstance(found, dict):
            raise _Unreadable(f"{name} is no document of sections, so what it changes is not known")
        found = found.get(key) or {}
    return found


def _load_keys(text: str | None, name: str, *keys: str) -> dict[str, Any]:
    found = _load_section(text, name, *keys)
    if not isinstance(found, dict):
        raise _Unreadable(f"{name} has no readable `{'.'.join(keys)}`, so what it changes is not known")
    return found


def _find_personal(before: RiskFiles, now: RiskFiles) -> Iterator[Touch]:
    """Find personal columns that the model newly reads, and declarations that came or went."""
    if (before.schema, before.params) == (now.schema, now.params):
        return
    was, comes = (_map_personal(side.schema, name) for side, name in _name_sides(before, now, "schema.yaml"))
    read = [_list_read(side.params, name) for side, name in _name_sides(before, now, "params.yaml")]
    known = {name: was.get(name, set()) | comes.get(name, set()) for name in was.keys() | comes.keys()}
    new = {name for name, words in known.items() if _is_read(words, read[1]) and not _is_read(words, read[0])}
    for name in sorted(new):
        yield Touch("personal data", f"the model newly reads `{name}`, which is personal")
    for name in sorted(comes.keys() - was.keys() - new):
        yield Touch("personal data", f"`{name}` is newly called personal")
    for name in sorted(was.keys() - comes.keys()):
        yield Touch("personal data", f"`{name}` is not called personal any more")
    names = _list_columns(read[1]) - _list_columns(read[0]) - set().union(*known.values())
    for name in sorted(names):
        if sounds_personal(name):
            yield Touch(
                "personal data", f"`{name}` sounds personal by its name, and schema.yaml does not call it so"
            )


def _name_sides(before: RiskFiles, now: RiskFiles, name: str) -> list[tuple[RiskFiles, str]]:
    return [(before, f"main's {name}"), (now, f"the change's {name}")]


def _map_personal(schema: str | None, name: str) -> dict[str, set[str]]:
    """Map each personal column to what it is called by: its name, and its alias in expressions."""
    columns = _load_keys(schema, name, "columns")
    # What is there and is no plain `false` counts: the word "yes" is no permission.
    return {
        str(key): {str(key), str(said.get("alias") or key)}
        for key, said in columns.items()
        if isinstance(said, dict) and said.get("personal", False)
    }


def _list_read(params: str | None, name: str) -> set[str]:
    """List the texts of `features` and of each further model's: names of columns, and expressions of them."""
    found: set[str] = set()
    rest = [_load_section(params, name, "features"), _load_section(params, name, "models")]
    # What anchors repeat is read once: it may be repeated without end.
    seen = set[int]()
    while rest:
        one = rest.pop()
        if isinstance(one, (dict, list)) and id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            rest += one.values()
        elif isinstance(one, list):
            rest += one
        else:
            # A column may be called 0.
            found.add(str(one))
    return found


def _list_names(texts: set[str]) -> set[str]:
    """List what may be a column in texts that are names or expressions."""
    return {word for text in texts for word in _WORD.findall(text)}


def _list_columns(texts: set[str]) -> set[str]:
    """List the same, a name of several words as a whole: of `Last name` neither word tells anything."""
    whole = {text for text in texts if _WORDS.fullmatch(text)}
    return whole | _list_names(texts - whole)


def _is_read(words: set[str], texts: set[str]) -> bool:
    return not words.isdisjoint(texts | _list_names(texts))


def _load_settings(before: RiskFiles, now: RiskFiles) -> list[tuple[str | None, Settings, Settings]]:
    """Load the settings of each model that both sides have, by its name; None is the main one."""
    try:
        old = parse_models(before.params or "", "main's params.yaml")
        new = parse_models(now.params or "", "the change's params.yaml")
    except SettingsError as error:
        raise _Unreadable(f"{error}; so what it changes is not known") from error
    return [(name, old[name], new[name]) for name in old if name in new]


def _find_watched_less(before: RiskFiles, now: RiskFiles) -> Iterator[Touch]:
    """Find alarms and checks of a canary that a change turns off or loosens, and slices that it compares no more."""
    if before.watch is not None and now.watch is None:
        yield Touch("alarms", "the workflow that watches production is gone")
    elif before.watch != now.watch:
        yield Touch("alarms", "the workflow that watches production is edited")
    if before.params == now.params or before.params is None:
        return
    told = set[str]()
    for model, was, comes in _load_settings(before, now):
        for one in _find_looser(was, comes):
            # A further model that takes the main one's sections is loosened with it, and says nothing new.
            if one.words not in told:
                yield replace(one, words=f"{one.words} for the model `{model}`") if model else one
            if model is None:
                told.add(one.words)


def _find_looser(was: Settings, comes: Settings) -> Iterator[Touch]:
    for kind, path, is_looser in LOOSER:
        old, new = _get(was, path), _get(comes, path)
        if old != new and is_looser(old, new):
            off = new is None or new is False
            done = "is turned off" if off else f"is loosened from {old} to {new}"
            yield Touch(kind, f"`{path}` {done}")
    for path in ("evaluate.slices", "evaluate.fairness"):
        for name in [one for one in _get(was, path) if one not in _get(comes, path)]:
            yield Touch("slices", f"`{name}` is not compared any more (`{path}`)")


def _get(settings: Settings, path: str) -> Any:
    found: Any = settings
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _is_more(old: Any, new: Any) -> bool:
    return old is not None and (new is None or new > old)


def _is_less(old: Any, new: Any) -> bool:
    return old is not None and (new is None or new < old)


def _is_off(old: Any, new: Any) -> bool:
    return bool(old) and not new


def _is_longer(old: str, new: str) -> bool:
    return _count_days(new) > _count_days(old)


def _count_days(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(number) * DAYS[unit.removesuffix("s")]


LOOSER: Final[Sequence[tuple[Kind, str, Callable[[Any, Any], bool]]]] = (
    ("alarms", "monitoring.labels.source", _is_off),
    ("alarms", "monitoring.labels.share", _is_more),
    ("alarms", "monitoring.false_alarm_every", _is_longer),
    ("alarms", "monitoring.harm.tolerance", _is_more),
    ("alarms", "monitoring.harm.calibration", _is_more),
    ("alarms", "monitoring.harm.slices", _is_off),
    *(
        ("alarms", f"monitoring.health.{name}", _is_more)
        for name in ("volume", "silent_hours", "missing", "unseen", "refused", "errors", "latency")
    ),
    ("alarms", "monitoring.health.availability", _is_less),
    ("canary", "release.canary.share", _is_more),
    ("canary", "release.canary.requests", _is_less),
    ("canary", "release.canary.seconds", _is_less),
    ("canary", "release.canary.quiet", lambda old, new: new == "promote"),
    ("canary", "release.canary.risk", _is_less),
    ("canary", "release.canary.errors", _is_more),
    ("canary", "release.canary.refusals", _is_more),
    ("canary", "release.canary.latency.ratio", _is_more),
    ("canary", "release.canary.latency.seconds", _is_more),
    ("canary", "release.canary.shift", _is_more),
)
"""What watches a version before and after it has production: by which setting, and when a new value watches less."""


def _find_fallback(before: RiskFiles, now: RiskFiles) -> Iterator[Touch]:
    """Find that the service's own answer for rows that cannot be scored is taken out or changed."""
    if before.params == now.params:
        return
    old, new = (
        _load_keys(side.params, name, "serving", "rows").get("fallback")
        for side, name in _name_sides(before, now, "params.yaml")
    )
    if old is not None and old != new:
        done = "is taken out" if new is None else "is another one"
        yield Touch(
            "fallback", f"the service's own answer where the model has none (`serving.rows.fallback`) {done}"
        )


def _find_owners(before: RiskFiles, now: RiskFiles) -> Iterator[Touch]:
    """Find owners that CODEOWNERS names nowhere any more, the one who answers for the model above all."""
    if before.owners == now.owners:
        return
    old, new = (_list_owners(side.owners) for side in (before, now))
    owner = _parse(before.risks, "main's").owner.strip()
    for name in sorted(old - new):
        whose = ", who answers for the model" if name == owner.lower() else ""
        yield Touch("owner", f"CODEOWNERS names `{name}`{whose} nowhere any more")
    lost = _list_lines(before.owners) - _list_lines(now.owners)
    if lost and not old - new:
        yield Touch("owner", f"CODEOWNERS loses or changes {len(lost)} of its lines")


def _list_owners(text: str | None) -> set[str]:
    return {found.lower() for line in _list_lines(text) for found in _OWNER.findall(line)}


def _list_lines(text: str | None) -> set[str]:
    return {" ".join(line.partition("#")[0].split()) for line in (text or "").splitlines()} - {""}


def _parse(text: str | None, whose: str) -> Risks:
    try:
        return parse_risks(text, f"{whose} {RISKS}")
    except RisksError as error:
        raise _Unreadable(f"{error}; so what it changes is not known") from error


def _find_answers(before: RiskFiles, now: RiskFiles) -> Iterator[Touch]:
    """Find what a change does to the answers of risks.yaml themselves."""
    if before.risks == now.risks:
        return
    if now.risks is None:
        yield Touch("answers", f"{RISKS} is taken out")
        return
    old, new = _parse(before.risks, "main's"), _parse(now.risks, "the change's")
    for name in QUESTIONS:
        was, comes = getattr(old, name).strip(), getattr(new, name).strip()
        if was == comes:
            continue
        kind: Kind = name if name in ("fallback", "owner") else "answers"  # type: ignore[assignment]
        done = "is taken out" if not comes else "is answered" if not was else "has another answer"
        yield Touch(kind, f"`{name}` of {RISKS} {done}")


def find_wider_gaps(slices: Sequence[SliceComparison], primary: str, matters: float) -> list[Touch]:
    """Find columns between whose values the main metric's gap grows by more than what matters.

    Only values that were judged on both sides count: of few rows nobody knows the metric.
    """
    found = []
    for column in dict.fromkeys(one.column for one in slices):
        pairs = [
            (one.champion, one.candidate)
            for one in slices
            if one.column == column
            and one.low is not None
            and one.champion is not None
            and one.candidate is not None
        ]
        if len(pairs) < 2:
            continue
        old, new = (max(side) - min(side) for side in zip(*pairs, strict=True))
        if new - old > matters:
            found.append(
                Touch(
                    "slices",
                    f"between values of `{column}` the gap in {metrics.find_label(primary)} grows from {old:.3g} to "
                    f"{new:.3g}",
                )
            )
    return found
