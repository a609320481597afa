"""Renders the page templates; whatever is printed into them is made visible and escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bots.log import make_visible

if TYPE_CHECKING:
    import jinja2

LONGEST = 400


def render(name: str, **values: Any) -> str:
    """Fill in one of `templates/`."""
    return _build_environment().get_template(name).render(**values)


def load_source(name: str) -> str:
    """Return the text of one of `templates/`, as it is."""
    environment = _build_environment()
    assert environment.loader
    return environment.loader.get_source(environment, name)[0]


@cache
def _build_environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("bots.render"),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: object) -> object:
    return value if hasattr(value, "__html__") else make_visible("" if value is None else value, LONGEST)
