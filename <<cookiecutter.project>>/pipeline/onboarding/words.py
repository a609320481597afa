"""What the names of columns give away: ids, people, personal data, times, and what is usually predicted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def _list(text: str) -> set[str]:
    return set(text.split())


# Words of a name that say what the column is; compared with whole words, so that `valid` holds no `id`.
ID = _list("id ids identifier uuid guid key pk rowid index idx nr no rownames unnamed")
UNITS = _list(
    "customer client patient user person member household account student subject employee driver "
    "borrower applicant policy policyholder kunde kunden family hh"
)
PLACES = _list("zip zipcode postal postcode plz fips iata code")
PERSONAL = _list(
    "email mail phone telephone tel mobile fax address street ssn passport iban surname lastname "
    "firstname forename fullname birthdate birthday dob username login ip anschrift vorname nachname "
    "strasse telefon geburtsdatum"
)
PERSONAL_PAIRS = ({"first", "name"}, {"last", "name"}, {"full", "name"}, {"family", "name"}, {"maiden", "name"},
                  {"user", "name"}, {"customer", "name"}, {"patient", "name"}, {"birth", "date"}, {"date", "birth"},
                  {"credit", "card"}, {"card", "number"}, {"social", "security"}, {"ip", "address"})  # fmt: skip
# Whole numbers of such a name are counted up without naming anything.
PERIODS = _list("year jahr month monat week woche day tag hour quarter age alter yr")
PROTECTED = _list("sex gender race ethnicity ethnic religion nationality disability geschlecht")
# Times that tell about the one in the row, not when the row is about.
ATTRIBUTES = _list(
    "birth born dob birthday hired hire signup registered registration expiry expires expiration built "
    "opened geburtsdatum"
)
# How likely a column of this name is what people predict.
TARGETS = {
    word: rate
    for rate, found in (
        (1.0, "target"),
        (0.95, "label churn churned"),
        (0.9, "y outcome fraud survived attrition converted ziel progression medv"),
        (0.85, "class default diagnosis"),
        (0.8, "response"),
        (0.75, "quality price"),
        (0.7, "result species mpg"),
        (0.6, "status income salary sales"),
        (0.5, "count score"),
    )
    for word in found.split()
}
CLASSES = _list("class label species type category kind cluster klasse diagnosis target")
YES = _list(
    "yes y true t 1 1.0 positive pos churned churn left bad fraud spam survived malignant m default "
    "defaulted >50k approved success won failed sick ill disease ja j oui si sí late exited dead died "
    "positiv attrited"
)
NO = {"no", "n", "false", "f", "0", "0.0", "negative", "neg", "nein", "non"}

# Words that stand for less and more, from least to most; labels are some of one line.
SCALES = (
    "none, minimal, very low, low, mild, minor, medium, moderate, normal, average, high, major, urgent, severe, "
    "very high, critical, extreme",
    "xs, s, m, l, xl, xxl",
    "tiny, small, medium, large, huge",
    "very bad, very poor, bad, poor, fair, ok, okay, average, good, very good, great, excellent",
    "strongly disagree, disagree, neutral, agree, strongly agree",
    "never, rarely, seldom, sometimes, often, usually, always",
    "bronze, silver, gold, platinum",
    "slow, medium, fast",
    "cold, warm, hot",
    "sehr niedrig, niedrig, mittel, hoch, sehr hoch",
    "klein, mittel, groß",
)
EMAIL = r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"
PHONE = r"^\+?[\d(][\d ()/.-]{6,18}\d$"
ADDRESS = (
    r"^(?:\d+\s+[A-Za-zÀ-ž].*(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Lane|Ln|Dr|Drive)\b.*|"
    r".*(?:straße|strasse|str\.|weg|platz)\s*\d+.*)$"
)
IP = r"^\d{1,3}(?:\.\d{1,3}){3}$"
IBAN = r"^[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}$"


def split_words(name: str) -> list[str]:
    """Split a name into its lower-case words: `customerID`, `customer_id` and `Customer Id` alike."""
    parted = re.sub(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[\W_]+", parted.lower()) if word]


def is_id(name: str) -> bool:
    """Whether a name says that its values name rows or things."""
    words = split_words(name)
    return (
        not words
        or bool(ID & set(words))
        or bool(re.fullmatch(r"\w+id", words[-1]) and words[-1] in _joined())
    )


def names_unit(name: str) -> bool:
    """Whether a name says that its values name a person, a customer or a household."""
    words = set(split_words(name))
    joined = {word.removesuffix("id").removesuffix("no") for word in words}
    return bool(words & UNITS) or bool(joined & UNITS)


def is_place(name: str) -> bool:
    """Whether a name says that its digits are a code, as a postal code's are."""
    return bool(set(split_words(name)) & PLACES)


def is_period(name: str) -> bool:
    """Whether a name says that its numbers count years, months or the like."""
    return bool(set(split_words(name)) & PERIODS)


def order_by_scale(labels: list[str]) -> list[str] | None:
    """Order labels from least to most, where all are words of one scale; None else."""
    plain = {label: re.sub(r"[\s_-]+", " ", label.strip().lower()) for label in labels}
    for scale in SCALES:
        ranks = {word: rank for rank, word in enumerate(scale.split(", "))}
        if {*plain.values()} <= {*ranks} and len({*plain.values()}) == len(labels):
            return sorted(labels, key=lambda label: ranks[plain[label]])
    return None


def find_personal(name: str, text: pd.Series | None) -> str | None:
    """Say why a column could tell about a person: by its name, or by what most of its texts look like."""
    words = split_words(name)
    if set(words) & PERSONAL or any(pair <= set(words) for pair in PERSONAL_PAIRS):
        return f"its name {name!r} speaks of a person"
    if text is None:
        return None
    sample = text.dropna().drop_duplicates().head(200).str.strip()
    if len(sample) < 3:
        return None
    for what, pattern in (("e-mail addresses", EMAIL), ("IP addresses", IP), ("bank accounts", IBAN)):
        if sample.str.contains(pattern, regex=True).mean() > 0.8:
            return f"most values look like {what}"
    if (
        sample.str.contains(PHONE, regex=True).mean() > 0.8
        and sample.str.contains(r"[ ()/+-]", regex=True).mean() > 0.8
    ):
        dates = sample.str.contains(r"^\d{4}-\d|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$", regex=True).mean()
        return "most values look like phone numbers" if dates < 0.2 else None
    if sample.str.contains(ADDRESS, regex=True).mean() > 0.6:
        return "most values look like street addresses"
    if (
        words
        and words[-1] in ("name", "names")
        and sample.str.contains(r"^[A-ZÀ-Ž]\S+[ ,]+[A-ZÀ-Ž]", regex=True).mean() > 0.8
    ):
        return "full names, by its name and its values"
    return None


def _joined() -> set[str]:
    """List ids that are written in one word, such as customerid."""
    return {
        f"{unit}id"
        for unit in (*UNITS, "row", "order", "loan", "case", "item", "product", "store", "tail", "object")
    }
