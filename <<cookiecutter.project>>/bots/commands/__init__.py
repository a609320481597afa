"""The verbs of the command line: one module each, with its options, its exit codes, and what it wires together."""

from __future__ import annotations

from types import ModuleType

from bots.commands import (
    audit,
    card,
    collect,
    conform,
    decide,
    deps,
    derive,
    download,
    key,
    lock,
    looks,
    merge,
    models,
    pack,
    preview,
    propose,
    protect,
    publish,
    release,
    review,
    rollback,
    scale,
    schema,
    score,
    sign,
    stale,
    start,
    storage,
    trace,
    verify,
    watch,
    week,
)

COMMANDS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        review,
        preview,
        merge,
        propose,
        card,
        deps,
        derive,
        conform,
        score,
        storage,
        looks,
        pack,
        download,
        collect,
        verify,
        publish,
        lock,
        stale,
        decide,
        start,
        release,
        rollback,
        scale,
        models,
        trace,
        audit,
        watch,
        week,
        key,
        sign,
        protect,
        schema,
    )
}
"""In the order in which `--help` lists them. Each has `add_parser(verbs)` and `run(arguments) -> exit code`."""
