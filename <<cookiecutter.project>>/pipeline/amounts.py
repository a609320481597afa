"""Read amounts as people write them, such as $1,234.50, 1.234,50 € or 12 %, where the contract says their form."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# The ways to write a space, an apostrophe and a minus that are taken for the plain one.
SAME = {"[\u00a0\u2009\u202f]": " ", "\u2019": "'", "\u2212": "-"}
SIGNS = frozenset(("%", "‰", "kr", "Kč", "zł", "Ft", "lei"))
# ISO 4217; other words beside digits are more often codes than amounts.
CURRENCIES = re.compile(
    r"AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN|MYR|NGN|NOK|NZD|PEN|"
    r"PHP|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)


@dataclass(frozen=True)
class Form:
    """How the numbers of a column are written: the decimal sign, what parts thousands, and the sign beside each."""

    decimal: str = "."
    thousands: str | None = None
    strip: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a number is written as digits with a decimal sign, and nothing else."""
        return self.thousands is None and self.strip is None

    def describe(self) -> str:
        """Describe a number of this form: `a number with $ and , between thousands (strip, thousands)`."""
        parts = {
            "strip": self.strip and f"the sign {self.strip}",
            "thousands": self.thousands and f"{self.thousands!r} between thousands",
            "decimal": self.decimal != "." and "a decimal comma",
        }
        said = {key: words for key, words in parts.items() if words}
        return f"a number with {' and '.join(said.values())} ({', '.join(said)} in schema.yaml)"


@dataclass(frozen=True)
class FoundForm:
    """A form that all texts fit; `doubtful` where the same texts could be read in another one."""

    form: Form
    doubtful: bool


def write_plainly(texts: pa.Array, form: Form) -> pa.Array:
    """Write amounts as numbers with a point, `-1234.50`; null for what is not of this form. In parentheses: below zero.

    A sign must stand beside each number, before or after it. Thousands may be parted or not, but not at another place.
    """
    import pyarrow.compute as compute

    texts = _unify(texts)
    texts = compute.if_else(compute.match_substring_regex(texts, _build_pattern(form)), texts, None)
    texts = compute.replace_substring_regex(texts, r"^\(", "-")
    for taken in (form.strip, ")", " ", form.thousands):
        if taken:
            texts = compute.replace_substring(texts, taken, "")
    return compute.replace_substring(texts, form.decimal, ".")


def find_form(texts: pa.Array) -> FoundForm | None:
    """Find the one form of amounts that all of these texts fit; None where there is none, or they are plain numbers."""
    import pyarrow.compute as compute

    texts = _unify(texts.drop_null())
    if not len(texts):
        return None
    strip = _find_sign(texts[0].as_py())
    if strip is None or (strip and not compute.all(compute.match_substring(texts, strip)).as_py()):
        return None
    if not strip and compute.any(compute.starts_with(texts, "+")).as_py():
        return None  # +49 170 123 456 is a phone number
    bare = compute.replace_substring(texts, strip, "") if strip else texts
    bare = compute.replace_substring_regex(bare, r"^[(+ -]+|[) ]+$", "")
    if compute.any(compute.match_substring_regex(bare, r"^0\d")).as_py():
        return None
    marks = [mark for mark in ",.' " if compute.any(compute.match_substring(bare, mark)).as_py()]
    fitting = [
        form
        for form in _list_forms(marks, strip or None)
        if compute.all(compute.match_substring_regex(texts, _build_pattern(form))).as_py()
    ]
    if not fitting:
        return None
    chosen = fitting[0]
    if len(fitting) > 1 and _are_thousands(bare, marks[0]):
        chosen = fitting[1]
    if chosen.is_plain or (not strip and not _vary(bare, marks, chosen)):
        return None
    return FoundForm(chosen, doubtful=len(fitting) > 1)


def _unify(texts: pa.Array) -> pa.Array:
    """Trim texts, and write every space, apostrophe and minus as the plain one."""
    import pyarrow.compute as compute

    for pattern, plain in SAME.items():
        texts = compute.replace_substring_regex(texts, pattern, plain)
    return compute.utf8_trim_whitespace(texts)


def _build_pattern(form: Form) -> str:
    """Build the regular expression (RE2) of a whole trimmed text."""
    part, decimal = re.escape(form.thousands or ""), re.escape(form.decimal)
    whole = r"\d+"
    if form.thousands:
        # Of three digits each, or as in India 12,34,567.
        whole = rf"[1-9]\d{{0,2}}(?:{part}\d{{3}})+|[1-9]\d?(?:{part}\d{{2}})+{part}\d{{3}}|\d+"
    number = rf"(?:(?:{whole})(?:{decimal}\d*)?|{decimal}\d+)"
    signed, bare = f"[+-]?{number}", number
    if form.strip:
        sign = re.escape(form.strip)
        signed = rf"[+-]? ?{sign} ?{number}|{sign} ?[+-]{number}|[+-]?{number} ?{sign}"
        bare = f"{sign} ?{number}|{number} ?{sign}"
    return rf"^(?:{signed}|\((?:{bare})\))\z"


def _find_sign(text: str) -> str | None:
    """Find the sign of currency or share beside a number; empty where there is none, None for other words."""
    words = re.sub(r"[\d.,' ()+-]+", " ", text).split()
    if not words:
        return ""
    if len(words) > 1:
        return None
    letters, symbol = words[0][:-1], words[0][-1]
    with_symbol = unicodedata.category(symbol) == "Sc" and re.fullmatch(r"[A-Z]{0,3}", letters)
    return words[0] if with_symbol or words[0] in SIGNS or CURRENCIES.fullmatch(words[0]) else None


def _list_forms(marks: list[str], strip: str | None) -> list[Form]:
    """List the forms that a column with these marks can have, those without thousands first."""
    if not marks:
        return [Form(strip=strip)]
    if len(marks) == 1 and marks[0] in ",.":
        other = "." if marks[0] == "," else ","
        return [Form(marks[0], None, strip), Form(other, marks[0], strip)]
    if len(marks) == 1:
        return [Form(".", marks[0], strip)]
    pairs = itertools.permutations(marks) if len(marks) == 2 else ()
    return [Form(decimal, thousands, strip) for decimal, thousands in pairs if decimal in ",."]


def _are_thousands(bare: pa.Array, mark: str) -> bool:
    """Whether a point or comma before three digits more likely parts thousands: a comma, or not in every number."""
    import pyarrow.compute as compute

    return mark == "," or not compute.all(compute.match_substring(bare, mark)).as_py()


def _vary(bare: pa.Array, marks: list[str], form: Form) -> bool:
    """Whether numbers without a sign are amounts: with decimals, commas, or a different number of thousands.

    Phone numbers and addresses of machines all have the same number of parts.
    """
    import pyarrow.compute as compute

    if form.decimal in marks or form.thousands in (None, ","):
        return True
    counts = compute.count_substring(bare, form.thousands)
    return bool(compute.min(counts).as_py() != compute.max(counts).as_py())
