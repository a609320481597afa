"""Read what a query of a database gives, in a transaction that only reads; no message shows a password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.files import StageError
from pipeline.sources import locations, tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import pyarrow as pa
    from sqlalchemy import URL, Connection, Engine

    from pipeline.params import Read

ROWS = 50_000  # that are fetched at once
CONNECT_SECONDS = 15
DATABASES = ("postgresql", "postgres", "sqlite", "mysql", "mariadb", "oracle", "mssql")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def is_database(source: str) -> bool:
    """Whether a source is the address of a database: `postgresql://…`, `sqlite:///…`."""
    scheme = source.partition("://")[0].partition("+")[0].lower() if "://" in source else ""
    return scheme in DATABASES


def read_query(source: str, read: Read) -> tuple[pa.Table, list[str]]:
    """Read the rows of the query in the file `data.read.query`; also what was found.

    `${NAME}` in the address stands for the environment's variable NAME. Rows come in the order of the query, or of
    their values where it names none, so that the same rows give the same file. Raises `StageError`.
    """
    import sqlalchemy

    query = load_query(read.query)
    address, secrets = expand_variables(source)
    where = f"data.source: {source}"
    try:
        engine = _create_engine(address, where)
        try:
            with engine.connect() as connection:
                data = _run_query(connection, query, source)
        finally:
            engine.dispose()
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise StageError(f"{where}: {read.query}: {_hide(cause, secrets)}{_advise(cause)}") from error
    except ImportError as error:
        raise StageError(
            f"{where}: {_hide(error, secrets)}; add the driver to requirements/pipeline.in, then run "
            "`make lock` and `make setup`"
        ) from error
    if re.search(r"\border\s+by\b", query, re.IGNORECASE) or not data.num_rows:
        return data, []
    return tables.sort_rows(data), []


def load_query(name: str | None) -> str:
    """Load the query from its file. Raises `StageError` for a file outside of the repository, or without a query."""
    if name is None:
        raise StageError(
            "params.yaml: data.read.query: a database needs a query: the file of this repository that holds one SELECT "
            "(at onboarding: `make onboard DATA=… QUERY=queries/training.sql`)"
        )
    path = Path(name)
    where = f"params.yaml: data.read.query: {name}"
    if not path.resolve().is_relative_to(Path.cwd().resolve()):
        raise StageError(f"{where}: expected a file of this repository")
    try:
        query = path.read_text(encoding="utf-8").strip().removesuffix(";")
    except (OSError, UnicodeError) as error:
        raise StageError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not query:
        raise StageError(f"{where}: the file is empty; expected one SELECT")
    return query


def expand_variables(source: str) -> tuple[str, list[str]]:
    """Return an address with its variables, and what no message may show.

    A user's name and password are percent-encoded on the way. Raises `StageError` for a variable that is not set,
    and for a password that stands in params.yaml itself.
    """
    userinfo = source.partition("://")[2].partition("/")[0].rpartition("@")[0]
    password = userinfo.partition(":")[2]
    if password and not _VARIABLE.fullmatch(password):
        raise StageError(
            "params.yaml: data.source: it holds a password, and everybody who reads the repository reads it; "
            "write ${NAME} and set the environment's variable NAME"
        )
    secrets: set[str] = set()

    def expand(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise StageError(f"params.yaml: data.source: the environment's variable {match[1]} is not set")
        inside = "@" in source[match.end() :].partition("/")[0]
        expanded = quote(value, safe="") if inside else value
        secrets.update((value, expanded))
        return expanded

    return _VARIABLE.sub(expand, source), sorted(secrets, key=len, reverse=True)


def _hide(error: object, secrets: list[str]) -> str:
    """Write an error on one line, without any secret."""
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:500]


def _advise(cause: object) -> str:
    words = str(cause).lower()
    if any(sign in words for sign in ("read-only", "readonly", "not authorized", "one statement")):
        return "; the query may only read, and is one SELECT without anything after it"
    return ""


def _create_engine(address: str, where: str) -> Engine:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise StageError(f"{where}: no address of a database") from error
    name = url.get_backend_name()
    if name in ("postgresql", "postgres"):
        driver = url.drivername.partition("+")[2] or "psycopg"
        wait = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
        url = url.set(drivername=f"postgresql+{driver}")
        return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=wait, hide_parameters=True)
    if name == "sqlite":
        return sqlalchemy.create_engine(
            "sqlite://", creator=lambda: _open_sqlite(url, where), poolclass=NullPool, hide_parameters=True
        )
    return sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)


def _open_sqlite(url: URL, where: str) -> sqlite3.Connection:
    """Open the file of a SQLite database for reading."""
    import sqlite3

    path = Path(url.database or "")
    if not path.is_file():
        raise StageError(f"{where}: no such file{locations.advise_fetch(str(path))}")
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)


def _run_query(connection: Connection, query: str, source: str) -> pa.Table:
    """Run a query, and build its table of so many rows at a time."""
    from sqlalchemy import text

    statement = text(query)
    if statement._bindparams:
        name = sorted(statement._bindparams)[0]
        raise StageError(
            f"params.yaml: data.read.query: it asks for :{name}, and nothing is given; write a colon of your own as \\:"
        )
    if connection.dialect.name == "sqlite":
        _allow_reading_alone(connection)
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    options = {"stream_results": True, "max_row_buffer": ROWS}
    with connection.execute(statement, execution_options=options) as result:
        if not result.returns_rows:
            raise StageError(f"data.source: {source}: the query gives no rows; it must be one SELECT")
        with tables.name_file(source):
            names = tables.check_names(list(map(str, result.keys())))
        parts = [(source, part) for part in _build_parts(result, names)]
    return tables.join_tables(parts)


def _build_parts(result: Any, names: list[str]) -> Iterator[pa.Table]:
    """Build a table of each part of the rows; an empty one where there are none."""
    import pyarrow as pa

    empty = True
    for rows in result.partitions(ROWS):
        empty = False
        yield pa.table([tables.build_column(list(column)) for column in zip(*rows, strict=True)], names=names)
    if empty:
        yield pa.table([pa.array([], type=pa.string())] * len(names), names=names)


def _allow_reading_alone(connection: Connection) -> None:
    """Let SQLite prepare no statement but one that reads."""
    import sqlite3

    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}

    def allow_reading(action: int, *_: object) -> int:
        return sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY

    driver: Any = connection.connection.driver_connection
    driver.set_authorizer(allow_reading)
