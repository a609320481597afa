"""Check the raw table against schema.yaml, and write evidence whether it passes or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline import classes, files, table
from pipeline.config import ConfigError
from pipeline.files import StageError, make_finding

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.params import Params

    Raw: TypeAlias = pd.DataFrame | files.StoredTable

Finding = dict[str, Any]
SHOWN = 5
MOST = 500
NOTHING: dict[str, Any] = {"rows": 0, "checks": 1, "columns": []}


def run(settings: Params) -> None:
    """Write reports/data.json in every case; raise `StageError` when a finding is an error."""
    report = check_file(settings, datetime.now(UTC))
    files.write_evidence("data", report)
    errors = [found for found in report["findings"] if found["severity"] == "error"]
    if errors:
        listed = "; ".join(found["message"].rstrip(".") for found in errors[:SHOWN])
        more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        noun = "error" if len(errors) == 1 else "errors"
        raise StageError(f"the data has {len(errors)} {noun}: {listed}{more}. See reports/data.json.", errors)


def check_file(settings: Params, now: datetime) -> dict[str, Any]:
    """Check data/raw.parquet; a table or contract that cannot be read is a finding like any other."""
    try:
        schema = table.load()
        table.check_params(settings, schema)
    except ConfigError as error:
        return {"passed": False, **NOTHING, "findings": [make_finding("schema", "error", str(error))]}
    try:
        raw = files.StoredTable(files.RAW)
        report = check_table(raw, settings, schema=schema, now=now)
    except StageError as error:
        if not str(error).startswith(f"{files.RAW}: "):
            raise
        return {"passed": False, **NOTHING, "findings": [make_finding("readable", "error", str(error))]}
    told = [make_finding("read", "warning", sentence) for sentence in files.read_found(files.RAW)]
    return {**report, "findings": [*report["findings"], *told][:MOST]}


def check_table(raw: Raw, settings: Params, schema: table.Schema, now: datetime) -> dict[str, Any]:
    """Run every check of a raw table and build `reports/data.json`; `now` decides whether it is too old."""
    findings = [*_check_columns(raw, settings, schema)]
    typed, misfits = table.coerce(raw, schema, read=settings.data.read)
    findings += [_advise_on_labels(found, raw, settings) for found in misfits]
    unread = settings.data.target in {found["column"] for found in misfits}
    try:
        typed = table.derive(typed, settings, schema)
    except ConfigError as error:
        findings.append(make_finding("derive", "error", str(error)))
    if len(raw) == 0:
        findings.append(
            make_finding("empty", "error", "the table has no rows", expected="at least one row", rows=0)
        )
    else:
        findings += [
            found
            for found in _check_contract(typed, schema)
            if not (unread and found["check"] == "missing" and found["column"] == settings.data.target)
        ]
        findings += _find_duplicates(typed, schema)
        findings += _find_constants(typed, schema)
        findings += [] if unread else _check_target(typed, settings)
        findings += _check_weight(typed, settings)
        findings += _check_freshness(typed, settings, schema=schema, now=now)
    first, last = _find_span(typed, schema)
    findings.sort(key=lambda found: found["severity"] != "error")
    return {
        "row": schema.row[:4000],
        "moment": schema.moment,
        "passed": all(found["severity"] != "error" for found in findings),
        "rows": len(raw),
        "digest": files.digest_table(typed) if len(typed.columns) else None,
        "first": first,
        "last": last,
        "checks": _count_checks(typed, schema),
        "findings": findings[:MOST],
        "columns": [
            profile_column(name, typed[name], schema.columns[name])
            for name in schema.columns
            if name in typed
        ],
    }


def profile_column(name: str, series: pd.Series, column: table.Column) -> dict[str, Any]:
    """Describe a column: its missing, distinct, lowest and highest values, and what the contract says of it."""
    numeric = column.type == "number" and bool(series.notna().any())
    return {
        "name": name,
        "type": column.type,
        "missing": float(series.isna().mean()) if len(series) else 0.0,
        "distinct": int(series.nunique()),
        "low": float(series.min()) if numeric else None,
        "high": float(series.max()) if numeric else None,
        "description": column.description[:4000],
        "unit": column.unit,
        "known": column.known,
        "personal": column.personal,
    }


def _check_columns(raw: Raw, settings: Params, schema: table.Schema) -> list[Finding]:
    """Find columns that the contract has and the table lacks (errors), or the other way round (warnings)."""
    names = [str(name) for name in raw.columns]
    absent = table.find_missing_columns(names, settings, schema)
    unknown = [name for name in names if name not in schema.columns]
    clashing = [name for name in settings.data.derive if name in names]
    return [
        *(
            make_finding(
                "columns",
                "error",
                f"{name}: the table has no such column{table.suggest_name(name, unknown)}",
                column=name,
            )
            for name in absent
        ),
        *(
            make_finding(
                "columns",
                "error",
                f"{name}: the table has a column of this name, data.derive makes another",
                column=name,
            )
            for name in clashing
        ),
        *(
            make_finding(
                "columns",
                "warning",
                f"{name[:200]}: schema.yaml does not know this column; left out",
                column=name[:200] or None,
            )
            for name in unknown
        ),
    ]


def _check_contract(typed: pd.DataFrame, schema: table.Schema) -> list[Finding]:
    """Check types, missing shares, ranges and categories by Pandera; report all failures, not the first alone."""
    from pandera.errors import SchemaErrors

    findings = []
    for name in (name for name in schema.columns if name in typed):
        try:  # one column at a time, because Pandera copies what it checks
            table.build_pandera_schema(schema, [name]).validate(typed[[name]], lazy=True)
        except SchemaErrors as errors:
            findings += [
                _describe_failure(
                    name, error.check.name, cases=error.failure_cases, typed=typed, schema=schema
                )
                for error in errors.schema_errors
            ]
    return findings


def _describe_failure(
    name: str, check: str, cases: pd.DataFrame, typed: pd.DataFrame, schema: table.Schema
) -> Finding:
    """Describe one failed check of one column."""
    column, series = schema.columns[name], typed[name]
    if check == "missing":
        share, allowed = float(series.isna().mean()), column.allowed_missing
        limit = f"at most {allowed:.1%}" if allowed else "none"
        return make_finding(
            "missing",
            "error",
            f"{name}: {share:.1%} of the values are missing, {limit} may be",
            column=name,
            expected=f"at most {allowed:g}",
            found=f"{share:.4f}",
            rows=int(series.isna().sum()),
        )
    values = cases["failure_case"]
    examples = table.make_labels(values.value_counts().head(SHOWN).index.to_series())
    low, high = column.range or (None, None)
    expected = {
        "range": f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}",
        "category": "one of " + ", ".join((column.categories or [])[:20]),
    }.get(check, table.EXPECTED[column.type])
    what = {"range": "outside the range", "category": "not among the categories"}.get(
        check, "of another type"
    )
    return make_finding(
        check,
        "error",
        f"{name}: {len(values):,} values are {what} ({', '.join(examples)}); expected {expected}",
        column=name,
        expected=expected,
        rows=len(values),
        examples=list(examples),
    )


def _find_duplicates(typed: pd.DataFrame, schema: table.Schema) -> list[Finding]:
    """Find rows that have another's identity (or all of its values, where no identity is declared)."""
    if not set(schema.identity) <= set(typed.columns):
        return []  # a missing column is reported as one
    key = schema.identity or list(typed.columns)
    repeated = typed.duplicated(subset=key)
    if not repeated.any():
        return []
    count = int(repeated.sum())
    if schema.duplicates == "natural" and not schema.identity:
        message = (
            f"{count:,} rows repeat another row; each counts, because schema.yaml says `duplicates: natural`"
        )
        return [make_finding("duplicates", "warning", message, rows=count)]
    shown = typed.loc[repeated, key].head(SHOWN)
    examples = table.join_labels(shown).to_pylist()
    if schema.identity:
        listed = ", ".join(key)
        what = f"repeat the identity ({listed}) of an earlier row, for instance {examples[0]}"
    else:
        what = f"repeat another row; {table.ADVICE_ON_DUPLICATES}"
    message = f"{count:,} rows {what}"
    return [
        make_finding("duplicates", "error", message, expected="every row once", rows=count, examples=examples)
    ]


def _find_constants(typed: pd.DataFrame, schema: table.Schema) -> list[Finding]:
    """Find columns that could be features and have one value in every row: no model learns from them."""
    return [
        make_finding("constant", "warning", f"{name}: has the same value in every row", column=name)
        for name, column in schema.columns.items()
        if column.known == "before" and name in typed and _is_constant(typed[name])
    ]


def _is_constant(series: pd.Series) -> bool:
    """Whether all values are the same; the first ones tell of most columns that they are not."""
    return all(rows.nunique(dropna=False) == 1 for rows in (series.head(1000), series))


def _advise_on_labels(misfit: Finding, raw: Raw, settings: Params) -> Finding:
    """Add to the target's values that are of another type how labels of any two names are declared."""
    name = settings.data.target
    if misfit["column"] != name or settings.task == "regression":
        return misfit
    counts = table.convert_column(raw[name], "category").value_counts()
    labels = [str(label) for label in counts.index]
    advice = "labels of any names are `type: category` in schema.yaml"
    if settings.task == "classification":
        advice = (
            "labels of any two names are `type: category` in schema.yaml, with the one that counts as yes in "
            f"params.yaml, under data: {table.suggest_positive(labels)}"
        )
    shown = table.quote_labels(labels)
    return {**misfit, "message": f"{misfit['message']}: the column has {shown}; {advice}"[:4000]}


def _check_target(typed: pd.DataFrame, settings: Params) -> list[Finding]:
    """Check that the target can be learned: it is there, has two values, and a class is a yes or a no."""
    name = settings.data.target
    if name not in typed:
        return []
    try:
        values = table.get_target(typed, settings).dropna()
    except StageError as error:
        examples = table.make_labels(typed[name].dropna().value_counts().index.to_series()).head(SHOWN)
        return [make_finding("target", "error", str(error), column=name, examples=list(examples))]
    if settings.task == "multiclass" and len(found := values.value_counts().index.tolist()) > 1:
        wrong = classes.find_wrong_number(found, settings.data, where="in the table")
        return [make_finding("target", "error", wrong, column=name)] if wrong else []
    if values.nunique() > 1:
        return []
    only = table.make_labels(typed[name].dropna().head(1))
    what = "one value" if settings.task == "regression" else "one class"
    told = f"only {what} ({only.iloc[0]})" if len(only) else "no value at all"
    message = f"{name}: the target has {told}: nothing can be learned"
    return [make_finding("target", "error", message, column=name)]


def _check_weight(typed: pd.DataFrame, settings: Params) -> list[Finding]:
    """Check that each row with a target says how much it counts: zero or more, and not all of them nothing."""
    name = settings.data.weight
    if name is None or name not in typed:
        return []
    weights = table.get_weight(typed, settings)
    assert weights is not None
    if settings.data.target in typed:
        weights = weights[typed[settings.data.target].notna()]
    faults = {
        "say no weight that is a number": int(weights.isna().sum()),
        "have a weight below zero": int((weights < 0).sum()),
    }
    findings = [
        make_finding(
            "weight",
            "error",
            f"{name}: {rows:,} rows with a target {what} (data.weight); expected zero or more",
            column=name,
            rows=rows,
        )
        for what, rows in faults.items()
        if rows
    ]
    if not findings and len(weights) and not weights.any():
        message = f"{name}: every row weighs nothing (data.weight), so nothing can be learned"
        findings.append(make_finding("weight", "error", message, column=name))
    return findings


def _check_freshness(
    typed: pd.DataFrame, settings: Params, schema: table.Schema, now: datetime
) -> list[Finding]:
    """Find data whose newest row is older than `data.max_age_days`."""
    limit = settings.data.max_age_days
    if limit is None:
        return []
    if schema.time is None or schema.time not in typed:
        return [
            make_finding(
                "freshness",
                "error",
                "data.max_age_days is set, but schema.yaml names no time column that is there",
            )
        ]
    newest = typed[schema.time].max()
    if typed[schema.time].notna().any() and now - newest <= timedelta(days=limit):
        return []
    last = table.make_labels(typed[schema.time].sort_values().tail(1), missing="missing").iloc[0]
    message = f"the newest row is of {last}, more than {limit:g} days ago"
    return [
        make_finding(
            "freshness",
            "error",
            message,
            column=schema.time,
            expected=f"at most {limit:g} days old",
            found=last,
        )
    ]


def _find_span(typed: pd.DataFrame, schema: table.Schema) -> tuple[str | None, str | None]:
    """Find the first and the last moment in the table."""
    if schema.time is None or schema.time not in typed or not typed[schema.time].notna().any():
        return None, None
    times = typed[schema.time].agg(["min", "max"])
    first, last = table.make_labels(times)
    return first, last


def _count_checks(typed: pd.DataFrame, schema: table.Schema) -> int:
    """Count the checks that were made of the columns and of the table."""
    of_columns = sum(
        2 + (column.range is not None) + (column.categories is not None)
        for name, column in schema.columns.items()
        if name in typed
    )
    return len(schema.columns) + of_columns + 4
