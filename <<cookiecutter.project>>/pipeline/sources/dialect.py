"""Find out how a text file is written: its encoding, its separator and its quotation mark."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pipeline.files import StageError
from pipeline.sources import tables

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.params import Read

SAMPLE = 1 << 18  # characters that are looked at
ROWS = 500  # rows of them
SEPARATORS = (",", ";", "\t", "|")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
HINT = re.compile(r'"?sep=(.)"?(\r\n|\r|\n)')  # a first line that tells Excel the separator
# What text that is not UTF-8 is usually written in.
ENCODINGS = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("koi8_r", "cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
]
# Signs that stand within no word of a western language, but where cp1252 puts letters of others.
ODD_WITHIN_WORDS = re.compile(r"[^\W\d_][¹¼¾]|[£¥¦¨¯][^\W\d_]|[^\W\d_][¿¡¦¨¯³][^\W\d_]")
NAMES = {"\t": "a tab", " ": "a space"}


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    encoding: str
    separator: str
    quote: str
    # Whether each row ends in a separator, and the line of names does not.
    trailing: bool = False
    # Lines before the line of names.
    skip: int = 0
    # Whether some of them are a title that was found.
    title: bool = False

    def open(self, path: Path) -> IO[str]:
        """Open a file at the line of names; line breaks stay what they are."""
        file = open_text(path, self.encoding)
        for _ in range(self.skip):
            next(file, "")
        return file


def find_dialect(path: Path, read: Read) -> tuple[Dialect, list[str]]:
    """Find how a text file is written, where `read` does not say it; with a sentence for each thing that is not usual.

    Raises `StageError` for an encoding that is not known, or that does not fit.
    """
    found = []
    encoding = read.encoding or find_encoding(path)
    sample, whole = read_sample(path, encoding)
    if read.encoding is None and encoding != "utf-8":
        words = _find_telling_words(sample)
        example = f", for instance {words[0][:30]!r}" if words else ""
        found.append(
            f"the text is not UTF-8; it was read as {encoding}{example} (data.read.encoding, where that is wrong)"
        )
    hint = HINT.match(sample)
    skip = read.header - 1 if read.header else int(bool(hint))
    sample = _drop_lines(sample, skip)
    quote = read.quote or find_quote(sample)
    title = 0 if read.header else _count_title_lines(sample, quote, read.separator, whole=whole)
    if title:
        skip, sample = skip + title, _drop_lines(sample, title)
        found.append(
            f"the names stand in line {skip + 1}, below a title (data.read.header, where that is wrong)"
        )
    if read.quote is None and quote != '"':
        found.append(f"cells stand between {quote!r} (data.read.quote, where that is wrong)")
    separator = read.separator or (hint and hint[1]) or find_separator(sample, quote, whole=whole)
    if read.separator is None and separator != ",":
        shown = NAMES.get(separator, repr(separator))
        found.append(f"the separator is {shown} (data.read.separator, where that is wrong)")
    rows = parse_rows(sample, separator, quote=quote, whole=whole)
    trailing = len(rows) > 1 and all(len(row) == len(rows[0]) + 1 and not row[-1] for row in rows[1:])
    if trailing:
        found.append("each row ends in a separator, which begins no column")
    return Dialect(encoding, separator, quote, trailing=trailing, skip=skip, title=title > 0), found


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a text file, without a byte order mark. Raises `StageError` for an encoding that nobody knows."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError as error:
        raise StageError(f"params.yaml: data.read.encoding: no encoding {encoding!r} is known") from error
    return path.open(encoding="utf-8-sig" if codec == "utf-8" else codec, newline="")


def find_encoding(path: Path) -> str:
    """Find the encoding of a text file: by its byte order mark, UTF-8 where all of it is that, else the likeliest."""
    with path.open("rb") as file:
        start = file.read(2)
        for mark, name in MARKS.items():
            if start.startswith(mark):
                return name
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _guess_encoding(_take_telling_lines(file))
    return "utf-8"


def read_sample(path: Path, encoding: str) -> tuple[str, bool]:
    """Read the first characters of a text file, and whether they are all of it."""
    try:
        with open_text(path, encoding) as file:
            sample = file.read(SAMPLE)
            return sample, not file.read(1)
    except UnicodeError as error:
        raise StageError(explain_encoding(encoding, error)) from error


def explain_encoding(encoding: str, error: UnicodeError) -> str:
    """Explain that a text is not of its encoding."""
    reason = f": {error.reason}" if isinstance(error, UnicodeDecodeError) else ""
    return f"the text is not {encoding}{reason}; say the right one in data.read.encoding, for instance cp1252"


def _drop_lines(sample: str, count: int) -> str:
    """Drop so many lines at the start of a text; line breaks stay what they are."""
    return "".join(list(io.StringIO(sample, newline=""))[count:]) if count else sample


def _count_title_lines(sample: str, quote: str, separator: str | None, *, whole: bool) -> int:
    """Count the lines of a title above the line of names: none where a separator makes a table of all lines."""
    parsed = {
        one: parse_rows(sample, one, quote=quote, whole=whole)
        for one in ([separator] if separator else SEPARATORS)
    }
    if any(_measure_fit(rows) == 1 and all(map(str.strip, rows[0][1:])) for rows in parsed.values()):
        return 0
    for one, rows in parsed.items():
        at = tables.find_names(rows, max(map(len, rows), default=0))
        if at and _measure_fit(rows[at:]) == 1:
            return _count_lines(sample, one, quote=quote, rows=at)
    return 0


def _count_lines(sample: str, separator: str, *, quote: str, rows: int) -> int:
    """Count the lines above the row of that number; empty lines are no rows."""
    above = 0
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, quotechar=quote)
    for row in reader:
        if row and not rows:
            return above
        rows -= bool(row)
        above = reader.line_num
    return above


def parse_rows(sample: str, separator: str, *, quote: str, whole: bool) -> list[list[str]]:
    """Parse the first rows of a sample, without empty lines; a sample of a longer file ends within a row."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, quotechar=quote)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if len(rows) > ROWS:
                return rows[:ROWS]
            if row:
                rows.append(row)
    except csv.Error:  # a cell above the limit of the csv module: what came before it counts
        return rows
    return rows if whole or len(rows) < 2 else rows[:-1]


def find_quote(sample: str) -> str:
    """Find the quotation mark: `'` where cells stand between it, or all names do, and none stands between `"`."""
    edge = r"(?:^|[,;\t|]){0}[^{0}\n]*{0}(?=[,;\t|\r\n]|$)"
    double = re.search(edge.format('"'), sample, re.MULTILINE)
    lines = sample.splitlines()[: ROWS + 1]
    single = sum(bool(re.search(edge.format("'"), line)) for line in lines)
    names = bool(lines) and re.fullmatch(r"'[^']*'(?:[,;\t|]'[^']*')+", lines[0].strip()) is not None
    return "'" if not double and lines and (names or single > len(lines) / 2) else '"'


def find_separator(sample: str, quote: str, *, whole: bool) -> str:
    """Find the separator: the one with which all rows have as many cells as the first, which has more than one."""
    parsed = {one: parse_rows(sample, one, quote=quote, whole=whole) for one in (*SEPARATORS, " ")}
    fits = [one for one in SEPARATORS if _measure_fit(parsed[one]) == 1]
    if not fits and _measure_fit(parsed[" "]) == 1:
        return " "
    if len(fits) == 1:
        return fits[0]
    if fits:
        return _choose_by_clevercsv(sample, fits) or max(fits, key=lambda one: len(parsed[one][0]))
    likely = max(
        SEPARATORS, key=lambda one: (_measure_fit(parsed[one]), len(parsed[one][0]) if parsed[one] else 0)
    )
    return likely if _measure_fit(parsed[likely]) > 0 else ","


def _measure_fit(rows: list[list[str]]) -> float:
    """Measure the share of rows that have as many cells as the first; 0 where that has one."""
    if not rows or len(rows[0]) < 2:
        return 0.0
    width = len(rows[0])
    fit = [len(row) == width or (len(row) == width + 1 and not row[-1]) for row in rows]
    return sum(fit) / len(fit)


def _choose_by_clevercsv(sample: str, separators: list[str]) -> str | None:
    """Let clevercsv choose among separators that all fit; None where it cannot."""
    import clevercsv

    start = "".join(sample.splitlines(keepends=True)[:100])
    found = clevercsv.Detector().detect(start, delimiters=separators)
    return found.delimiter if found is not None and found.delimiter in separators else None


def _take_telling_lines(file: io.BufferedReader) -> bytes:
    """Take the lines that are not ASCII, because only they tell an encoding; the first ones, up to a limit."""
    taken: list[bytes] = []
    size = 0
    for line in file:
        if not line.isascii():
            taken.append(line)
            size += len(line)
            if size > SAMPLE:
                break
    return b"".join(taken)


def _guess_encoding(sample: bytes) -> str:
    """Guess the encoding of text that is not UTF-8.

    What a language speaks for comes first, then Windows' western one where the text looks like it: a few words cannot
    tell, so whoever calls this shows one.
    """
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample, cp_isolation=ENCODINGS).best()
    try:
        western = sample.decode("cp1252")
    except UnicodeDecodeError:
        western = ""
    # A language speaks by its letters: one that only puts other signs says nothing.
    other = [one for one, sign in zip(str(best), western, strict=False) if one != sign]
    spoken = best is not None and best.coherence >= 0.2 and any(sign.isalpha() for sign in other)
    if western and not spoken:
        letters = [letter for word in _find_telling_words(western) for letter in word if letter.isalpha()]
        latin = sum(letter.isascii() for letter in letters) >= len(letters) / 2
        if best is None or str(best) == western or (latin and not ODD_WITHIN_WORDS.search(western)):
            return "cp1252"
    if best is None:
        raise StageError("the text's encoding cannot be told; say it in data.read.encoding")
    return best.encoding


def _find_telling_words(text: str) -> list[str]:
    """Find the words of a text that are not ASCII."""
    return [word for word in re.findall(r"\w+", text) if not word.isascii()]
