"""Changes values of params.yaml that a person writes behind `/retrain`: numbers and switches of the model alone.

A name, a path or a list is never taken: an estimator is named by its import path, and what is imported runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from bots.decoding import YAML_ERRORS, load_yaml
from bots.errors import BotsError
from bots.layout import PARAMS

Value = bool | int | float | None
Path = tuple[str, ...]
Changes = Mapping[Path, Value]
MOST_CHANGES: Final = 10
_PAIR: Final = re.compile(
    r"(?P<path>[A-Za-z_]\w{0,60}(?:\.[A-Za-z_]\w{0,60}){1,8})=(?P<value>\S{1,40})", re.ASCII
)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}


class WrongChange(BotsError):
    """What was written changes nothing that may be changed; the message says what is right."""


def parse_changes(arguments: str) -> dict[Path, Value]:
    """Parse `model.seed=7 train.C=0.5`: keys of params.yaml by their path, with numbers, true, false or null.

    Raises `WrongChange`.
    """
    changes: dict[Path, Value] = {}
    for word in arguments.split():
        found = _PAIR.fullmatch(word)
        if found is None:
            raise WrongChange(f"{word[:60]!r} is no key of {PARAMS} with a value, such as model.seed=7")
        path = tuple(found["path"].split("."))
        if path in changes:
            raise WrongChange(f"{found['path']} stands there twice")
        changes[path] = _parse_value(found["path"], found["value"])
    if len(changes) > MOST_CHANGES:
        raise WrongChange(f"more than {MOST_CHANGES} values: change {PARAMS} in the branch itself")
    return changes


def _parse_value(name: str, text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        raise WrongChange(
            f"{name} is given {text!r}: only numbers, true, false and null are taken from a comment; change anything "
            "else in the branch itself"
        )
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise WrongChange(f"{name} is given {text}, which no computer's number holds")
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else number


def require_allowed(changes: Changes, sections: Sequence[str]) -> None:
    """Raise `WrongChange` for a key outside of the sections that main's params.yaml opens to comments.

    The sections of a further model, `models.NAME.model`, are as open as those of the main one.
    """
    for path in changes:
        section = path[2] if path[0] == "models" and len(path) > 3 else path[0]
        if section not in sections:
            opened = ", ".join(f"{one}" for one in sections) or "none"
            raise WrongChange(
                f"{'.'.join(path)} is not open to comments: those of these sections are ({opened}), as "
                f"commands.retrain of main's {PARAMS} has it"
            )


def change_values(text: str, changes: Changes) -> str:
    """Change numbers and switches where they stand; comments and everything else stay.

    The text is parsed again afterwards: it must say what it said, but for these values. Raises `WrongChange` for a key
    that is not there, or whose value is of another kind, and where nothing would change.
    """
    try:
        # What an anchor repeats may grow without end, and would change in several places at once.
        if any(isinstance(one, (yaml.AnchorToken, yaml.AliasToken)) for one in yaml.scan(text)):
            raise WrongChange(f"the branch's {PARAMS} has anchors (&, *): change it there")
        wanted, root = load_yaml(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except YAML_ERRORS as error:
        raise WrongChange(f"the branch's {PARAMS} is not YAML: mend it there") from error
    edits = []
    for path, value in changes.items():
        holder, node = _find_value(wanted, root, path)
        before = holder[path[-1]]
        _require_kind(path, before, value)
        holder[path[-1]] = value
        if before != value or type(before) is not type(value):
            edits.append((node.start_mark.index, node.end_mark.index, _format_value(value)))
    if not edits:
        raise WrongChange(f"the branch's {PARAMS} has these values already; the word alone reviews it anew")
    made = text
    for start, end, new in sorted(edits, reverse=True):
        made = made[:start] + (new if start < end else f" {new}") + made[end:]
    try:
        same = load_yaml(made) == wanted
    except YAML_ERRORS:
        same = False
    if not same:
        raise WrongChange(
            f"{PARAMS} is written in a way in which that would change something else: change it there"
        )
    return made


def _find_value(document: Any, root: yaml.Node | None, path: Path) -> tuple[dict[str, Any], yaml.ScalarNode]:
    """Find the mapping that holds a key, and where its value stands."""
    holder, node = document, root
    for at, key in enumerate(path):
        if not isinstance(holder, dict) or not isinstance(node, yaml.MappingNode) or key not in holder:
            known = (
                ", ".join(str(one) for one in holder)[:300] if isinstance(holder, dict) else "a single value"
            )
            raise WrongChange(f"{PARAMS} has no {'.'.join(path[: at + 1])}; there is: {known}")
        node = next((value for name, value in node.value if name.value == key), None)
        if at < len(path) - 1:
            holder = holder[key]
    if not isinstance(node, yaml.ScalarNode):
        raise WrongChange(f"{'.'.join(path)} is no single value: change {PARAMS} in the branch itself")
    return holder, node


def _require_kind(path: Path, before: Any, after: Value) -> None:
    """Raise `WrongChange` unless a number or null takes the place of one, or a switch that of a switch."""
    is_switch = isinstance(before, bool)
    is_number = before is None or (isinstance(before, (int, float)) and not is_switch)
    if not (is_switch or is_number):
        raise WrongChange(
            f"{'.'.join(path)} is {str(before)[:60]!r}, no number and no switch: change {PARAMS} in the branch itself"
        )
    if is_switch != isinstance(after, bool):
        wanted = "true or false" if is_switch else "a number"
        raise WrongChange(f"{'.'.join(path)} is {_format_value(before)}: expected {wanted}")


def _format_value(value: Value) -> str:
    """Write a value so that YAML reads the same one back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    # YAML 1.1 takes 1e-05 for a word: it wants a point, and a sign.
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}e{sign}{exponent}"


def describe_changes(changes: Changes) -> str:
    """Say which values are set: `model.seed=7, train.C=0.5`."""
    return ", ".join(f"{'.'.join(path)}={_format_value(value)}" for path, value in changes.items())
