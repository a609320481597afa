"""Writes the model card: what the model is for, how good it is, and what its evidence says against it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files, table
from pipeline.params import Params

CARD = Path("MODEL_CARD.md")
REPORTS = ("data", "split", "features", "training", "metrics", "explanation", "drift", "export")
MEANINGS = {
    "roc_auc": "how well it ranks a yes above a no: 0.5 is guessing, 1 is perfect",
    "average_precision": "precision averaged over all thresholds: the share of yes is guessing, 1 is perfect",
    "log_loss": "how surprised it is by what happens: 0 is never",
    "brier": "mean squared error of the probability: 0 is perfect",
    "accuracy": "share of decisions that are right",
    "precision": "of the rows it calls yes, the share that are",
    "recall": "of the rows that are yes, the share it calls so",
    "f1": "harmonic mean of precision and recall",
    "expected_calibration_error": "mean distance of the predicted from the observed share: 0 is perfect",
    "mae": "mean absolute error",
    "rmse": "root of the mean squared error, which weighs large errors more",
    "r2": "share of the variance that it explains: 0 is no better than the mean, 1 is perfect",
    "median_absolute_error": "half of the errors are smaller",
    "bias": "size of the mean error: 0 is neither too high nor too low",
    "value": "what its decisions are worth by the prices in params.yaml",
}
# What counts as a limit worth a line.
MUCH_MISSING = 0.05
MUCH_BIAS = 0.1
MOST_LIMITS = 5

_ZERO_WIDTH = "\u200b"
_PLAIN = re.compile(r"[A-Za-z0-9_.,:%/+()<>*=-]+( [A-Za-z0-9_.,:%/+()<>*=-]+)*")
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$^#!]")
# What GitHub would link or replace: mentions, references, formulas, addresses, emoji (no minutes), commits.
_LINKS = re.compile(
    r"[@#$](?=\S)|/(?=/)|www(?=\.)|:(?!\d\d:)(?=[\w+-]+:)|\b(?:GH|CVE|GHSA)-(?=\w)|\b[0-9a-f](?=[0-9a-f]{6,63}\b)",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"(?P<before>\d{1,9}(?=[.)](?:\s|$))|(?=[-+=:]))(?P<sign>.)")


@dataclass(frozen=True)
class Card:
    """Everything that the card is made of: parameters, data contract, and the reports by name."""

    settings: Params
    schema: table.Schema
    reports: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.reports[name]


def run(settings: Params) -> None:
    """Write MODEL_CARD.md from the reports of all other stages."""
    card = Card(settings, table.load(), {name: files.read_evidence(name) for name in REPORTS})
    files.write_text(render(card), CARD)


def render(card: Card) -> str:
    """The whole card; the same evidence gives the same bytes."""
    project = card.settings.project
    sections = {
        "Intended use": intended_use(card),
        "Limits": bullets(limits(card)) or "None that the evidence shows.",
        "Quality": quality(card),
        "Slices": slices(card),
        "Calibration": calibration(card),
        "Fairness": fairness(card),
        "Business value": value(card),
        "Explanation": explanation(card),
        "Drift": drift(card),
        "Data": data(card),
        "Features": features(card),
        "Model": model(card),
        "How to reproduce": reproduce(card),
    }
    head = f"# {text(project.title)}\n\n{text(project.description)}\n\n{summary(card)}"
    body = "\n\n".join(f"## {title}\n\n{section}" for title, section in sections.items())
    return f"{head}\n\n{body}\n"


def summary(card: Card) -> str:
    """The first screen: what a decision needs, one line each."""
    found = list(limits(card))
    top = [f"{name(item['feature'])} ({item['share']:.0%})" for item in card["explanation"]["ranking"][:3]]
    train = part(card, "train")
    rows = [
        ("Predicts", target_words(card)),
        ("For each row", f"{text(card.schema.row)}; {text(card.schema.moment or 'at any moment')}"),
        ("Quality", headline(card)),
        ("Worth", worth(card) or "no prices in params.yaml, so not known"),
        ("Learned from", f"{train['rows']:,} rows{period(train)}"),
        ("Moved most by", ", ".join(top) or "nothing"),
        ("Drift", drift_words(card)),
        ("Limits", f"{len(found)}, see [Limits](#limits)" if found else "none that the evidence shows"),
        ("Owner", text(card.settings.project.owner)),
    ]
    return grid(["In short", ""], [[f"**{title}**", words] for title, words in rows])


def target_words(card: Card) -> str:
    """What is predicted, in the data contract's words."""
    target = card.settings.data.target
    column = card.schema.columns.get(target)
    meaning = f": {text(column.description)}" if column and column.description else ""
    unit = f" ({text(column.unit)})" if column and column.unit else ""
    kind = "the probability of " if card.settings.task == "classification" else ""
    return f"{kind}{name(target)}{meaning}{unit}"


def headline(card: Card) -> str:
    """The primary metric with its interval and meaning, and the rows that it was judged on."""
    found = primary(card)
    meaning = f" ({MEANINGS[found['name']]})" if found["name"] in MEANINGS else ""
    rows = f"{card['metrics']['rows']:,} rows{period(part(card, 'holdout'))}"
    return f"{name(found['name'])} {number(found['value'])}{interval(found)} on {rows} that it never saw{meaning}"


def intended_use(card: Card) -> str:
    """What the model is for, and what it is not."""
    schema, settings = card.schema, card.settings
    moment = text(schema.moment or "the moment of prediction")
    personal = [
        column
        for column in settings.features.raw
        if column in schema.columns and schema.columns[column].personal
    ]
    later = [name(column) for column in schema.known_after]
    lines = [
        f"To predict {target_words(card)}, for {text(schema.row)}, with what is known {moment}.",
        "",
        "Not intended:",
        "",
        "- for rows unlike those it has learned from: the ranges and categories under [Features](#features) are all it "
        "knows;",
        f"- at another moment than {moment}: inputs would be missing, or tell what is to be predicted;",
    ]
    if later:
        lines.append(f"- with columns that are only known afterwards: {', '.join(later)};")
    about = (
        f"it reads personal data ({', '.join(map(name, personal))})"
        if personal
        else "it reads no personal data"
    )
    lines.append(f"- as the only ground of a decision about a person: {about}.")
    return "\n".join(lines)


def limits(card: Card) -> Iterator[str]:
    """What the evidence says against the model, the gravest first."""
    export, explained = card["export"], card["explanation"]
    if not export["exported"]:
        yield f"It could not be exported for serving: {text(export['step'])}: {text(export['reason'])}"
    elif not export["passed"]:
        yield f"The exported model does not answer like the trained one: {text(export['reason'])}"
    yield from few("The slice {} is clearly worse than the whole", weak_slices(card))
    if bias := biased(card):
        yield bias
    yield from few("{} drifted", [name(column["column"]) for column in drifted(card)])
    if not explained["passed"]:
        yield f"Its explanation is not to be trusted: {text(explained['note'])}"
    yield from few(
        "{} of the training rows",
        [
            f"{name(feature['name'])} is missing in {feature['missing']:.1%}"
            for feature in sorted(card["features"]["features"], key=lambda feature: -feature["missing"])
            if feature["missing"] > MUCH_MISSING and not feature.get("expression")
        ],
    )
    for finding in [*card["data"]["findings"], *card["features"]["findings"]][:MOST_LIMITS]:
        yield text(finding["message"])
    if unlabelled := card["split"]["unlabelled"]:
        yield f"{unlabelled:,} rows have no known {name(card.settings.data.target)} and were left out"
    if last := part(card, "train")["last"]:
        yield f"It has learned nothing after {text(last[:10])}"


def few(sentence: str, items: list[str]) -> Iterator[str]:
    """A sentence for each item, at most `MOST_LIMITS`, and how many more there are."""
    for item in items[:MOST_LIMITS]:
        yield sentence.format(item)
    if len(items) > MOST_LIMITS:
        yield f"{len(items) - MOST_LIMITS} more of this kind"


def quality(card: Card) -> str:
    """Every metric with its interval and what it means."""
    rows = [
        [
            name(metric["name"]),
            f"{number(metric['value'])}{interval(metric)}",
            text(metric["unit"] or ""),
            f"{metric['direction']} is better",
            MEANINGS.get(metric["name"], ""),
        ]
        for metric in card["metrics"]["metrics"]
    ]
    level = f"{card.settings.gate.confidence:.0%}"
    threshold = card["metrics"]["threshold"]
    note = f"On the holdout; in brackets the {level} interval."
    if threshold is not None:
        note += f" A row is called yes from a probability of {threshold:g} on."
    return f"{note}\n\n{grid(['Metric', 'Value', 'Unit', '', 'Meaning'], rows)}"


def slices(card: Card) -> str:
    """The five worst and the five best slices by the primary metric."""
    known = by_quality(card)
    if not known:
        return "No slice is large enough to be judged."
    chosen = known if len(known) <= 10 else [*known[:5], *known[-5:]]
    rows = [
        [
            slice_name(found),
            f"{found['rows']:,}",
            f"{number(found['metric'])}{interval(found)}",
            number(found["target"]),
            number(found["prediction"]),
        ]
        for found in chosen
    ]
    note = f"{len(known)} slices by {name(card['metrics']['primary'])}, worst first"
    note += "." if len(known) <= 10 else "; the five worst and the five best."
    return f"{note}\n\n{grid(['Slice', 'Rows', 'Metric', 'Observed mean', 'Predicted mean'], rows)}"


def by_quality(card: Card) -> list[dict[str, Any]]:
    """The slices that have the primary metric, worst first."""
    metrics = card["metrics"]
    known = [found for found in metrics["slices"] if found["metric"] is not None]
    sign = 1 if primary(card)["direction"] == "higher" else -1
    return sorted(known, key=lambda found: (sign * found["metric"], found["column"], found["value"]))


def weak_slices(card: Card) -> list[str]:
    """The slices whose whole interval is worse than the metric of all rows, worst first."""
    whole = primary(card)
    weak = []
    for found in by_quality(card):
        if found.get("low") is None or found.get("high") is None:
            continue
        higher = whole["direction"] == "higher"
        if (found["high"] < whole["value"]) if higher else (found["low"] > whole["value"]):
            weak.append(f"{slice_name(found)} ({number(found['metric'])} on {found['rows']:,} rows)")
    return weak


def calibration(card: Card) -> str:
    """Predicted against observed, in bins of similar score."""
    bins = card["metrics"]["calibration"]
    if not bins:
        return "Not known."
    rows = [[f"{found['rows']:,}", number(found["predicted"]), number(found["observed"])] for found in bins]
    verdict = biased(card) or "On average it predicts what happens"
    return f"{verdict}.\n\n{grid(['Rows', 'Predicted', 'Observed'], rows)}"


def biased(card: Card) -> str | None:
    """What to say where the mean prediction is off by more than a tenth of the mean that was observed."""
    bins = card["metrics"]["calibration"]
    rows = sum(found["rows"] for found in bins)
    if not rows:
        return None
    predicted = sum(found["rows"] * found["predicted"] for found in bins) / rows
    observed = sum(found["rows"] * found["observed"] for found in bins) / rows
    if abs(predicted - observed) <= MUCH_BIAS * abs(observed):
        return None
    much = "too high" if predicted > observed else "too low"
    return (
        f"Its predictions are {much} on average: {number(predicted)} predicted, {number(observed)} observed"
    )


def fairness(card: Card) -> str:
    """The widest gaps between groups."""
    gaps = card["metrics"]["fairness"]
    if not gaps:
        return "No groups are compared; name columns under `evaluate.fairness` in params.yaml."
    rows = [
        [
            name(gap["column"]),
            text(gap["measure"]),
            name(gap["lowest"]),
            name(gap["highest"]),
            number(gap["gap"]),
        ]
        for gap in gaps
    ]
    return grid(["Column", "Measure", "Lowest for", "Highest for", "Gap"], rows)


def value(card: Card) -> str:
    """What the model is worth, and by which prices."""
    words = worth(card)
    if not words:
        return (
            "No prices are given; set `evaluate.costs` in params.yaml to know what its decisions are worth."
        )
    costs = card["metrics"]["costs"][0]
    currency = text(costs["currency"])
    prices = [
        f"{title}: {number(costs[key])} {currency}"
        for key, title in (
            ("true_positive", "a yes that is right"),
            ("false_positive", "a false alarm"),
            ("true_negative", "a no that is right"),
            ("false_negative", "a miss"),
            ("under", "one unit too low"),
            ("over", "one unit too high"),
        )
        if costs.get(key) is not None
    ]
    return f"{words[0].upper()}{words[1:]}.\n\nThe prices:\n\n{bullets(prices)}"


def worth(card: Card) -> str | None:
    """The value of 1,000 predictions; for a classification, against doing without it. None without prices."""
    found = next((metric for metric in card["metrics"]["metrics"] if metric["name"] == "value"), None)
    costs = (card["metrics"]["costs"] or [None])[0]
    if found is None or costs is None:
        return None
    currency, share = text(costs["currency"]), part(card, "holdout")["target"]
    if card.settings.task == "regression" or share is None:
        if found["value"] >= 0:
            return f"{money(found['value'])} {currency} for each 1,000 rows{interval(found, 1000)}"
        cost = {"low": found["high"] and -found["high"], "high": found["low"] and -found["low"]}
        return (
            f"its errors cost {money(-found['value'])} {currency} for each 1,000 rows{interval(cost, 1000)}"
        )
    never = share * (costs["false_negative"] or 0) + (1 - share) * (costs["true_negative"] or 0)
    always = share * (costs["true_positive"] or 0) + (1 - share) * (costs["false_positive"] or 0)
    return (
        f"{money(found['value'] - never)} {currency} for each 1,000 rows against never saying yes"
        f"{interval(found, 1000, never)}, and {money(found['value'] - always)} {currency} against always saying yes"
    )


def explanation(card: Card) -> str:
    """What moves the prediction, and the worst mistakes."""
    found = card["explanation"]
    rows = [
        [name(item["feature"]), f"{item['share']:.1%}", direction(item["direction"])]
        for item in found["ranking"][:10]
    ]
    how = "SHAP values" if found["method"] == "shap" else "Permutation importance"
    note = f" {text(found['note'])}." if found["note"] else ""
    lines = [
        f"{how} on {found['rows']:,} rows of the holdout, in {text(found['output'])}.{note}",
        "",
        grid(["Feature", "Share", "Higher values"], rows),
    ]
    if found["worst"]:
        lines += ["", "Where it was most wrong:", "", bullets(mistake(worst) for worst in found["worst"][:3])]
    return "\n".join(lines)


def direction(value: float | None) -> str:
    """A rank correlation in words."""
    if value is None:
        return "have no order"
    if abs(value) < 0.3:
        return "do both"
    return "raise it" if value > 0 else "lower it"


def mistake(worst: dict[str, Any]) -> str:
    """One of the worst predictions in a line."""
    reasons = [f"{name(reason['feature'])} = {name(reason['value'])}" for reason in worst["reasons"][:3]]
    because = f", mostly by {', '.join(reasons)}" if reasons else ""
    return f"{name(worst['row'])}: predicted {number(worst['score'])}, was {number(worst['target'])}{because}"


def drifted(card: Card) -> list[dict[str, Any]]:
    """The columns that drifted, of every comparison."""
    comparisons = card["drift"]["comparisons"]
    return [column for comparison in comparisons for column in comparison["columns"] if column["drifted"]]


def drift_words(card: Card) -> str:
    """Drift in a line."""
    comparisons = card["drift"]["comparisons"]
    if not comparisons:
        return "not looked for"
    found, against = drifted(card), text(comparisons[0]["name"])
    judged = sum(
        column["score"] is not None for comparison in comparisons for column in comparison["columns"]
    )
    if not found:
        return f"none of {judged} columns ({against})"
    named = ", ".join(name(column["column"]) for column in found[:MOST_LIMITS])
    return f"{named}: {len(found)} of {judged} ({against})"


def drift(card: Card) -> str:
    """Each comparison: what drifted, and what came closest to it."""
    sections = []
    for comparison in card["drift"]["comparisons"]:
        columns = sorted(
            comparison["columns"],
            key=lambda column: (not column["drifted"], -(column["score"] or 0) / column["threshold"]),
        )
        several = max(MOST_LIMITS, sum(column["drifted"] for column in columns))
        rows = [
            [
                name(column["column"]),
                text(column["role"]),
                "not judged" if column["score"] is None else number(column["score"]),
                number(column["threshold"]),
                "**drifted**" if column["drifted"] else "",
                text(column["note"] or ""),
            ]
            for column in columns[:several]
        ]
        title = (
            f"{text(comparison['current'])} ({comparison['current_rows']:,} rows) against "
            f"{text(comparison['reference'])} ({comparison['reference_rows']:,} rows); the columns that moved most:"
        )
        sections.append(f"{title}\n\n{grid(['Column', 'Role', 'Score', 'Threshold', '', ''], rows)}")
    return "\n\n".join(sections) or "Not looked for."


def data(card: Card) -> str:
    """The rows of every part, and the table that they come from."""
    rows = [
        [
            found["name"],
            f"{found['rows']:,}",
            period(found).strip() or "",
            "" if found["target"] is None else number(found["target"]),
            name(found["digest"]),
        ]
        for found in card["split"]["parts"]
    ]
    source = card["data"]
    digest = f", {name(source['digest'])}" if source["digest"] else ""
    return (
        f"{source['rows']:,} rows from {name(card.settings.data.source)}{digest}. A row is {text(card.schema.row)}. "
        f"Split by {card['split']['by']}.\n\n{grid(['Part', 'Rows', 'Period', 'Mean target', 'Digest'], rows)}"
    )


def features(card: Card) -> str:
    """The model's inputs: meaning and unit from the data contract, values from the training rows."""
    return grid(
        ["Feature", "Meaning", "Unit", "Training values", "Missing"],
        [
            [name(found["name"]), *meaning(card, found), values(found), f"{found['missing']:.1%}"]
            for found in card["features"]["features"]
        ],
    )


def meaning(card: Card, feature: dict[str, Any]) -> tuple[str, str]:
    """A feature's meaning and unit."""
    if feature.get("expression"):
        return f"computed: {name(feature['expression'])}", ""
    column = card.schema.columns.get(feature["name"])
    return (text(column.description), text(column.unit or "")) if column else ("", "")


def values(feature: dict[str, Any]) -> str:
    """The values that a feature had in training."""
    if feature["kind"] == "numeric":
        low, high = feature.get("low"), feature.get("high")
        return "none" if low is None or high is None else f"{low:.6g} to {high:.6g}"
    categories = feature.get("categories", [])
    if 0 < len(categories) <= 6:
        return ", ".join(map(name, categories))
    return f"{feature['distinct']:,} categories"


def model(card: Card) -> str:
    """What was trained, and how it is served."""
    training, export = card["training"], card["export"]
    chosen = ", ".join(f"{key}={value}" for key, value in training["parameters"].items() if value != "None")
    lines = [
        f"{name(training['estimator'])}, seed {training['seed']}, on {training['rows']:,} rows.",
        "",
        f"- parameters: {name(chosen)}" if chosen else "- no parameters",
        *(f"- step: {name(step)}" for step in training["steps"]),
    ]
    if training.get("search"):
        lines.append(
            f"- search: {name(', '.join(f'{key}={value}' for key, value in training['search'].items()))}"
        )
    if export["exported"] and export["passed"]:
        lines.append(
            f"- ONNX: {export['bytes']:,} bytes, {name(export['digest'])}; it differs from scikit-learn by at most "
            f"{export['largest_difference']:.1e} on {export['rows']:,} rows"
        )
    return "\n".join(lines)


def reproduce(card: Card) -> str:
    """The commands, and the libraries that it was trained with."""
    libraries = ", ".join(
        f"{library} {version}" for library, version in card["training"]["environment"].items()
    )
    return (
        "In a clone of this commit:\n\n"
        "```sh\n"
        "make setup           # the locked libraries\n"
        "dvc pull             # data, model and evidence of this commit\n"
        "dvc repro            # makes what is not there; the same inputs give the same digests\n"
        "dvc metrics show\n"
        "```\n\n"
        f"Trained with {text(libraries)}; training data {name(card['training']['data'])}."
    )


def primary(card: Card) -> dict[str, Any]:
    """The primary metric."""
    found: dict[str, Any]
    found = next(item for item in card["metrics"]["metrics"] if item["name"] == card["metrics"]["primary"])
    return found


def part(card: Card, wanted: str) -> dict[str, Any]:
    """A part of the split."""
    found: dict[str, Any] = next(item for item in card["split"]["parts"] if item["name"] == wanted)
    return found


def period(found: dict[str, Any]) -> str:
    """` from 2013-01-01 to 2013-06-30`, or nothing where the rows have no time."""
    if not found["first"] or not found["last"]:
        return ""
    return f" from {text(found['first'][:10])} to {text(found['last'][:10])}"


def slice_name(found: dict[str, Any]) -> str:
    """A slice as `carrier = UA`."""
    return f"{name(found['column'])} = {name(found['value'])}"


def interval(found: dict[str, Any], times: float = 1, less: float = 0) -> str:
    """` (0.70 to 0.76)`, or nothing where there is none; `times` and `less` bring it to another scale."""
    low, high = found.get("low"), found.get("high")
    if low is None or high is None:
        return ""
    if times == 1:
        return f" ({number(low)} to {number(high)})"
    return f" ({(low - less) * times:,.0f} to {(high - less) * times:,.0f})"


def money(amount: float) -> str:
    """An amount per row as the whole amount per 1,000 rows."""
    return f"{amount * 1000:,.0f}"


def number(found: float) -> str:
    """A number for reading: whole ones in full, others with three or four digits."""
    size = abs(found)
    if float(found).is_integer() or size >= 1000:
        return f"{found:,.0f}"
    return f"{found:.1f}" if size >= 100 else f"{found:.3f}" if size >= 0.1 else f"{found:.3g}"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list of lines that are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def name(value: object) -> str:
    """A name or value from data in a fixed-width face where that is safe, as plain text otherwise."""
    line = one_line(value)
    return f"`{line}`" if _PLAIN.fullmatch(line) else text(line)


def text(value: object) -> str:
    """Markdown that shows `value` as it is, wherever it stands: nothing in it formats, links, mentions or ends a cell.

    GitHub looks for `@name`, `#12`, addresses and commits after Markdown's own escapes are gone, so a zero-width
    space stands inside of those.
    """
    line = _LINKS.sub(lambda found: found[0] + _ZERO_WIDTH, one_line(value))
    line = _SPECIAL.sub(lambda found: "\\" + found[0], line)
    start = _BLOCK.match(line)
    return f"{start['before']}\\{line[start.end('before') :]}" if start else line


def one_line(value: object) -> str:
    """A value without line breaks, doubled spaces, and characters that nobody sees."""
    seen = "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character for character in str(value)
    )
    return " ".join(seen.split())
