"""Reads labels from where they are kept: files at any address, or a database that is only read.

Values are opaque here: every column of a CSV file is text, and nothing is converted before it is known what it is
compared with.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote
from uuid import UUID

from bots.errors import BotsError
from bots.log import make_visible
from bots.network import open_filesystem

if TYPE_CHECKING:
    import sqlite3

    import pyarrow as pa
    from sqlalchemy import URL, Connection, Engine

    from bots.settings import Labels

BATCH_ROWS: Final = 50_000
STATEMENT_SECONDS: Final = 600
CONNECT_SECONDS: Final = 15
CSV_ENDINGS: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.xz", ".csv.zst")
PARQUET_ENDINGS: Final = (".parquet", ".pq")
DELIMITERS: Final = ",;\t|"
WHERE: Final = "params.yaml: monitoring.labels"
_DATABASES: Final = ("postgresql", "postgres", "sqlite", "mysql", "mariadb", "oracle", "mssql")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


class LabelsError(BotsError):
    """The labels cannot be had as params.yaml says; the message says what to change."""


class LabelsUnreachable(LabelsError):
    """The labels' source does not answer, or what lies there cannot be read."""


@dataclass(frozen=True)
class WantedColumns:
    """The columns that a source must have. `derived` is the expression by which the pipeline makes the target."""

    join: tuple[str, ...]
    target: str
    time: str | None = None
    derived: str | None = None

    @property
    def names(self) -> list[str]:
        """Return every column once, in a fixed order."""
        return list(dict.fromkeys([*self.join, self.target, *([self.time] if self.time else [])]))

    def check_columns(self, found: Iterable[str], where: str) -> None:
        """Raise `LabelsError` where a column is missing, or is there twice."""
        columns = list(found)
        shown = ", ".join(make_visible(name, 40) for name in columns[:20]) or "none"
        if missing := [name for name in self.names if name not in columns]:
            raise LabelsError(f"{where}: no column {self._name_missing(missing[0])}; the columns are {shown}")
        if twice := [name for name in self.names if columns.count(name) > 1]:
            raise LabelsError(f"{where}: the column `{twice[0]}` is there {columns.count(twice[0])} times")

    def _name_missing(self, name: str) -> str:
        if name == self.target and self.derived:
            return (
                f"`{name}`: the pipeline derives it ({make_visible(self.derived, 80)}), but labels bring it ready, "
                f'such as `select …, {make_visible(self.derived, 80)} as "{name}"` in a query'
            )
        if name == self.target:
            return f"`{name}`, which holds the label (monitoring.labels.target, or else data.target)"
        if name == self.time:
            return f"`{name}`, which says when a label became known (monitoring.labels.time)"
        hint = f' (in a query: `select … as "{name}"`)' if ":" in name else ""
        return f"`{name}`, which names the prediction (monitoring.labels.join){hint}"


class LabelSource(Protocol):
    """Where labels are kept; `where` says it to people, without a secret."""

    @property
    def where(self) -> str:
        """Name the source for people."""

    def read_batches(self, wanted: WantedColumns, since: datetime) -> Iterator[pa.RecordBatch]:
        """Yield the wanted columns, so many rows at a time. Raises `LabelsError`, also in the middle."""


def open_source(settings: Labels, root: Path, environ: Mapping[str, str]) -> LabelSource:
    """Open the source that params.yaml names. `root` is the project's folder. Raises `LabelsError`.

    `${NAME}` in the address stands for the environment's variable NAME.
    """
    if settings.source is None:
        raise LabelsError(f"{WHERE}.source: no labels come (null)")
    source, secrets = expand_variables(settings.source, environ)
    scheme = source.partition("://")[0].partition("+")[0].lower() if "://" in source else ""
    if not (settings.query or scheme in _DATABASES):
        return FileSource(source, settings.source, root, secrets)
    if scheme not in _DATABASES:
        raise LabelsError(
            f"{WHERE}.query: a query needs a database as source (postgresql://…, sqlite:///…), "
            f"and {make_visible(settings.source, 80)} is none"
        )
    if settings.query is None:
        raise LabelsError(f"{WHERE}.query: a database needs the file of this repository that holds the query")
    return DatabaseSource(
        source, settings.source, settings.query, _read_query(root, settings.query), root, secrets
    )


def expand_variables(source: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the address with its variables, and their values, which no message may show.

    A user's name and password are percent-encoded on the way. Raises `LabelsError` for a variable that is not set,
    and for a password that stands in params.yaml itself.
    """
    if "://" in source and (password := _find_password(source)) and "${" not in password:
        raise LabelsError(
            f"{WHERE}.source: it holds a password, and everybody who reads the repository reads it; "
            "write ${NAME} and set the environment's variable NAME"
        )
    if "${" in _VARIABLE.sub("", source):
        raise LabelsError(f"{WHERE}.source: a variable has no end; write ${{NAME}}")
    secrets: list[str] = []

    def expand(match: re.Match[str]) -> str:
        name, value = match[1], environ.get(match[1], "")
        if not value:
            raise LabelsError(
                f"{WHERE}.source: the environment's variable {make_visible(name, 60)} is not set"
            )
        inside = match.start() > 0 and "@" in source[match.end() :].partition("/")[0]
        expanded = quote(value, safe="") if inside else value
        secrets.extend({value, expanded})
        return expanded

    return _VARIABLE.sub(expand, source), tuple(sorted(secrets, key=len, reverse=True))


def _find_password(source: str) -> str:
    userinfo = source.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return userinfo.partition(":")[2]


def _read_query(root: Path, name: str) -> str:
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise LabelsError(f"{WHERE}.query: {make_visible(name, 80)} does not lie in this repository")
        query = path.read_text(encoding="utf-8").strip().rstrip(";").rstrip()
    except (OSError, ValueError) as error:
        raise LabelsError(
            f"{WHERE}.query: {make_visible(name, 80)} cannot be read: {make_visible(error, 200)}"
        ) from error
    if not query:
        raise LabelsError(f"{WHERE}.query: {make_visible(name, 80)} is empty")
    return query


@dataclass(frozen=True)
class FileSource:
    """A CSV or Parquet file, a folder or a pattern of them, at any address that fsspec reads."""

    source: str = field(repr=False)
    shown: str
    root: Path
    secrets: tuple[str, ...] = field(repr=False, default=())

    @property
    def where(self) -> str:
        """Name the source for people, as params.yaml has it."""
        return make_visible(self.shown, 120)

    def read_batches(self, wanted: WantedColumns, since: datetime) -> Iterator[pa.RecordBatch]:
        """Yield the wanted columns of every file, in the order of their names. Raises `LabelsError`.

        A file that cannot be read ends it: labels of which some are missing would make days look complete.
        """
        with self._translate_errors(self.where):
            filesystem, path = self._open_filesystem()
            files = self._list_files(filesystem, path)
        if not files:
            raise LabelsUnreachable(f"{self.where}: no CSV or Parquet file lies there")
        for file in files:
            where = self.where if len(files) == 1 else f"{self.where}: {make_visible(file, 120)}"
            with self._translate_errors(where):
                yield from _read_file(filesystem, file, wanted, where)

    def _open_filesystem(self) -> tuple[Any, str]:
        local = "://" not in self.source
        address = str(self.root / Path(self.source).expanduser()) if local else self.source
        filesystem, path = open_filesystem(address)
        filesystem.invalidate_cache()
        return filesystem, path

    def _list_files(self, filesystem: Any, path: str) -> list[str]:
        if any(sign in path for sign in "*?["):
            found = [name for name in filesystem.glob(path) if not filesystem.isdir(name)]
        elif filesystem.isdir(path):
            found = filesystem.find(path)
        else:
            return [path]
        return sorted(
            name
            for name in found
            if name.lower().endswith(CSV_ENDINGS + PARQUET_ENDINGS)
            and not name.rpartition("/")[2].startswith((".", "_"))
        )

    @contextmanager
    def _translate_errors(self, where: str) -> Iterator[None]:
        try:
            yield
        except BotsError:
            raise
        except FileNotFoundError as error:
            raise LabelsUnreachable(f"{where}: nothing lies there") from error
        except ImportError as error:  # fsspec says which driver an address needs
            raise LabelsError(f"{where}: {hide_secrets(error, self.secrets)}") from error
        except Exception as error:  # a driver of fsspec raises what it likes
            raise LabelsUnreachable(
                f"{where}: it cannot be read: {hide_secrets(error, self.secrets)}"
            ) from error


def hide_secrets(words: object, secrets: Iterable[str]) -> str:
    """Return words for people on one line, in which no secret is left."""
    text = str(words) or type(words).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    return make_visible(text, 300)


def _read_file(filesystem: Any, path: str, wanted: WantedColumns, where: str) -> Iterator[pa.RecordBatch]:
    lower = path.lower()
    if lower.endswith(PARQUET_ENDINGS) or (not lower.endswith(CSV_ENDINGS) and _is_parquet(filesystem, path)):
        yield from _read_parquet(filesystem, path, wanted, where)
    else:
        yield from _read_csv(filesystem, path, wanted, where)


def _is_parquet(filesystem: Any, path: str) -> bool:
    with filesystem.open(path, "rb") as file:
        return bool(file.read(4) == b"PAR1")


def _read_parquet(filesystem: Any, path: str, wanted: WantedColumns, where: str) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with filesystem.open(path, "rb") as file, parquet.ParquetFile(file) as table:
        wanted.check_columns(table.schema_arrow.names, where)
        yield from table.iter_batches(batch_size=BATCH_ROWS, columns=wanted.names)


def _read_csv(filesystem: Any, path: str, wanted: WantedColumns, where: str) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with filesystem.open(path, "rb", compression="infer") as file:
        header, delimiter = _find_header(file.read(1 << 20), wanted, where)
    wanted.check_columns(header, where)
    with filesystem.open(path, "rb", compression="infer") as file:
        reader = arrow_csv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=arrow_csv.ReadOptions(
                block_size=4 << 20, use_threads=False, column_names=header, skip_rows=1
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted.names,
                column_types=dict.fromkeys(wanted.names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=False,
            ),
        )
        with reader:
            yield from reader


def _find_header(start: bytes, wanted: WantedColumns, where: str) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter: the one by which most wanted columns are there."""
    line = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LabelsUnreachable(f"{where}: it cannot be read as UTF-8") from error
    if not text.strip():
        raise LabelsUnreachable(f"{where}: it is empty, not even the columns' names are there")
    headers = [(next(csv.reader([text], delimiter=sign)), sign) for sign in DELIMITERS]
    return max(headers, key=lambda found: len(set(found[0]) & set(wanted.names)))


@dataclass(frozen=True)
class DatabaseSource:
    """A query of a database by SQLAlchemy, in a transaction that may only read and is always rolled back.

    PostgreSQL: a read-only transaction, a server's cursor (which takes one statement that reads, and no more), and a
    statement timeout. SQLite: the file is opened for reading, and an authorizer lets a query do nothing else. Other
    databases: the transaction is rolled back; give them an account that may only read.
    """

    source: str = field(repr=False)
    shown: str
    query_name: str
    query: str = field(repr=False)
    root: Path
    secrets: tuple[str, ...] = field(repr=False, default=())
    seconds: float = STATEMENT_SECONDS

    @property
    def where(self) -> str:
        """Name the source for people, as params.yaml has it."""
        return f"{make_visible(self.shown, 100)} ({make_visible(self.query_name, 60)})"

    def read_batches(self, wanted: WantedColumns, since: datetime) -> Iterator[pa.RecordBatch]:
        """Yield the query's rows, so many at a time; `:since` in the query is `since`. Raises `LabelsError`."""
        import sqlalchemy

        try:
            engine = self._create_engine()
            try:
                with engine.connect() as connection:
                    yield from self._run_query(connection, wanted, since)
            finally:
                engine.dispose()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise self._describe_error(error) from error
        except ImportError as error:
            raise LabelsError(
                f"{self.where}: {hide_secrets(error, self.secrets)}; the driver of this database is not installed"
            ) from error

    def _create_engine(self) -> Engine:
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        try:
            url = sqlalchemy.make_url(self.source)
        except (sqlalchemy.exc.ArgumentError, ValueError) as error:
            raise LabelsError(f"{WHERE}.source: {self.where}: no address of a database") from error
        name = url.get_backend_name()
        if name in {"postgresql", "postgres"}:
            driver = url.drivername.partition("+")[2] or "psycopg"
            wait = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
            return sqlalchemy.create_engine(
                url.set(drivername=f"postgresql+{driver}"),
                poolclass=NullPool,
                connect_args=wait,
                hide_parameters=True,
            )
        if name == "sqlite":
            return sqlalchemy.create_engine(
                "sqlite://", creator=lambda: self._open_sqlite(url), poolclass=NullPool, hide_parameters=True
            )
        return sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)

    def _open_sqlite(self, url: URL) -> sqlite3.Connection:
        import sqlite3

        if not url.database or url.database == ":memory:":
            raise LabelsError(f"{WHERE}.source: {self.where}: no file of a database")
        path = quote(str(self.root / url.database))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        deadline = time.monotonic() + self.seconds
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
        return connection

    def _run_query(
        self, connection: Connection, wanted: WantedColumns, since: datetime
    ) -> Iterator[pa.RecordBatch]:
        from sqlalchemy import text

        name = connection.dialect.name
        statement = text(self.query)
        if unknown := sorted({*statement._bindparams} - {"since"}):
            raise LabelsError(
                f"{WHERE}.query: {make_visible(self.query_name, 60)} asks for :{make_visible(unknown[0], 40)}, and "
                "only :since is given; write a colon of your own as \\:"
            )
        given: dict[str, Any] = {}
        if statement._bindparams:
            given["since"] = since.strftime("%Y-%m-%d") if name == "sqlite" else since
        if name == "sqlite":
            _allow_reading_alone(connection)
        if name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
            connection.execute(text(f"SET LOCAL statement_timeout = {int(self.seconds * 1000)}"))
        options = {"stream_results": True, "max_row_buffer": BATCH_ROWS}
        with connection.execute(statement, given, execution_options=options) as result:
            if not result.returns_rows:
                raise LabelsError(f"{self.where}: the query gives no rows; it must be one SELECT")
            columns = list(result.keys())
            wanted.check_columns(columns, self.where)
            places = [columns.index(column) for column in wanted.names]
            for rows in result.partitions(BATCH_ROWS):
                yield build_batch(wanted.names, ([row[at] for row in rows] for at in places))

    def _describe_error(self, error: Exception) -> LabelsError:
        cause = getattr(error, "orig", None) or error
        words = hide_secrets(str(cause).strip() or type(cause).__name__, self._list_secrets())
        state = str(getattr(cause, "sqlstate", None) or "")
        lower = words.lower()
        if state == "57014" or "statement timeout" in lower or lower == "interrupted":
            return LabelsUnreachable(f"{self.where}: the query took longer than {self.seconds:g} s: {words}")
        if _is_about_writing(state, lower):
            return LabelsError(
                f"{self.where}: the query may only read, and must be one SELECT without anything after it: {words}"
            )
        if state.startswith(("42", "22")) or "syntax error" in lower or "no such" in lower:
            return LabelsError(f"{self.where}: the query is refused: {words}")
        return LabelsUnreachable(f"{self.where}: the database does not answer: {words}")

    def _list_secrets(self) -> list[str]:
        userinfo = self.source.partition("://")[2].rpartition("@")[0].partition("/")[0]
        return [*self.secrets, *([password] if (password := userinfo.partition(":")[2]) else [])]


def _allow_reading_alone(connection: Connection) -> None:
    """Let SQLite prepare no statement but one that reads."""
    import sqlite3

    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}

    def allow_reading(action: int, *_: object) -> int:
        return sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY

    driver: Any = connection.connection.driver_connection
    driver.set_authorizer(allow_reading)


def _is_about_writing(state: str, words: str) -> bool:
    """Whether a database refused a query because it does more than read. 25006: a read-only transaction."""
    signs = (
        "multiple commands",
        "one statement at a time",
        "not authorized",
        "readonly database",
        "declare cursor must not contain",
        "authorization denied",
    )
    declared = state == "42601" and any(
        f'at or near "{word}"' in words
        for word in ("insert", "update", "delete", "drop", "create", "truncate")
    )
    return state in {"25006", "25001"} or declared or any(sign in words for sign in signs)


def build_batch(names: Iterable[str], columns: Iterable[list[Any]]) -> pa.RecordBatch:
    """Build a record batch of values as a database's driver gives them."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([build_column(values) for values in columns], names=list(names))


def build_column(values: list[Any]) -> pa.Array:
    """Build a column of one type; values of several types, and decimals, become text, each as it would be written."""
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {bool} or kinds <= {int} or kinds <= {float} or kinds <= {str} or kinds <= {date}:
        try:
            return pa.array(values)
        except (OverflowError, pa.ArrowInvalid, UnicodeEncodeError):
            return pa.array([None if value is None else _write_value(value) for value in values], pa.string())
    if kinds == {datetime}:
        zones = {value.tzinfo is None for value in values if value is not None}
        if len(zones) == 1:
            return pa.array(values, pa.timestamp("us", tz=None if zones == {True} else "UTC"))
    return pa.array([None if value is None else _write_value(value) for value in values], pa.string())


def _write_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="surrogateescape").encode("utf-8", "replace").decode()
    if isinstance(value, UUID):
        return str(value)
    return str(value)
