"""Text files as they come: what stands in a cell stays, and how the file is written is found and said."""

from __future__ import annotations

import csv
import gzip
import io
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import StageError
from pipeline.params import Read
from pipeline.sources import Table, read_source


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content: str | bytes, name: str = "rows.csv", **settings: Any) -> Table:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_source(name, Read(**settings))


def cells(content: str | bytes, **settings: Any) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = read(content, **settings).data.to_pydict()
    return table


def refusal(content: str | bytes, **settings: Any) -> str:
    with pytest.raises(StageError) as caught:
        read(content, **settings)
    return str(caught.value)


def test_a_cell_is_the_text_that_stands_there() -> None:
    content = "zip,country,version,vip,id\n01067,NA,1.10,True,9007199254740993\n1067,None,1.1,true,null\n"
    assert cells(content) == {
        "zip": ["01067", "1067"],
        "country": ["NA", "None"],
        "version": ["1.10", "1.1"],
        "vip": ["True", "true"],
        "id": ["9007199254740993", "null"],
    }


def test_only_an_empty_cell_without_quotes_is_null() -> None:
    assert cells('a,b\n,x\n"",x\n" ",x\n')["a"] == [None, "", " "]


def test_the_files_of_a_folder_agree_on_what_a_text_is() -> None:
    Path("inbox").mkdir()
    Path("inbox/1.csv").write_text("zip,n\n01067,1\n")
    Path("inbox/2.csv").write_text("n;zip\n2;1067\n")
    assert read_source("inbox").data.to_pydict() == {"zip": ["01067", "1067"], "n": ["1", "2"]}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("a;b\n1,5;2\n2,5;3\n", "the separator is ';'"),
        ("a\tb\n1,5\t2\n", "the separator is a tab"),
        ("a|b\n1,5|2\n", "the separator is '|'"),
        ("a b\n1,5 2\n", "the separator is a space"),
        ("sep=;\na;b\n1,5;2\n", "the separator is ';'"),
        ("'a';'b'\n'1,5';'2'\n", 'cells stand between "\'"'),
    ],
)
def test_the_separator_is_found_and_said(content: str, found: str) -> None:
    table = read(content)
    assert table.data.column_names == ["a", "b"]
    assert table.frame["a"][0] == "1,5"
    assert any(sentence.startswith("rows.csv: " + found) for sentence in table.found)


@pytest.mark.parametrize("cells", ["1\t'x'\n2\t'y'\n", "1\t2\n3\t4\n5\t6\n"])
def test_names_between_single_quotation_marks_are_read_without_them(cells: str) -> None:
    table = read("'a'\t'b'\n" + cells)
    assert list(table.frame.columns) == ["a", "b"]
    assert table.read.quote == "'"


def test_what_the_parameters_say_is_not_looked_for_and_not_told() -> None:
    table = read("a;b\n1,5;2\n", separator=";")
    assert table.found == []
    assert table.read == Read(separator=";", encoding="utf-8", quote='"')


def test_a_usual_file_has_nothing_to_tell() -> None:
    assert read("a,b\n1,x y\n2,z w\n").found == []


@pytest.mark.parametrize("name", ["months.csv", "months.CSV.gz"])
def test_a_separator_at_the_end_of_each_row_shifts_no_column(name: str) -> None:
    content = b"id,a,b,vip,bought\n1,10,20,yes,0,\n2,11,21,no,1,\n"
    table = read(gzip.compress(content) if name.endswith("gz") else content, name)
    assert table.data.to_pydict()["bought"] == ["0", "1"]
    assert table.data.to_pydict()["id"] == ["1", "2"]
    assert "each row ends in a separator" in table.found[0]


def test_a_separator_at_the_end_of_every_line_begins_no_column() -> None:
    assert cells("a,b,\n1,2,\n3,4,\n") == {"a": ["1", "3"], "b": ["2", "4"]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3: 2 cells, the line of names has 3"),
        ("a,b,c\n1,2,3\n\n4,5,6,7\n", "line 4: 4 cells, the line of names has 3"),
        ('a,b\n"x\ny",2\n3\n', "line 4: 1 cell, the line of names has 2"),
        ("a,b\n1,2,\n3,4,5\n", "line 2: 3 cells, the line of names has 2"),
        ("a,b\n1,2,\n3,4\n", "line 2: 3 cells"),
        ("a,b\nr1,1,2\nr2,3,4\n", "line 2: 3 cells, the line of names has 2"),
        ('a,b\n1,"x\n2,y\n3,z\n', 'line 2: a quotation mark (") is not closed'),
        ('a,b\n1,2\n3,"x\n', 'line 3: a quotation mark (") is not closed'),
        ("a,b,a\n1,2,3\n", "the columns 1 and 3 have the same name, 'a'"),
        ("a,,b\n1,2,3\n", "column 2 of 3 has no name"),
        ("a,b,\n1,2,3\n", "column 3 of 3 has no name"),
        ("", "the file is empty; expected a line of column names"),
        ("\n\n", "the file is empty; expected a line of column names"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(content: str, expected: str) -> None:
    message = refusal(content)
    assert message.startswith("data.source: ")
    assert "rows.csv: " in message
    assert expected in message


BELOW = "a;b;c\n1,5;x;2\n2,5;y;3\n"


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("Report 2024\nof ACME, Inc.\n\n", 4),
        ("Report 2024;;\n;;\n", 3),
        ("sep=;\nReport\n", 3),
        ("Report\n'two\nlines'\n\n".replace("'", '"'), 5),
    ],
    ids=["sentences", "as Excel pads it", "with a hint", "with a break"],
)
def test_a_title_above_the_names_is_left_out_and_said(title: str, line: int) -> None:
    Path("rows.csv").write_text(title + BELOW)
    table = read_source("rows.csv")
    assert table.data.to_pydict() == {"a": ["1,5", "2,5"], "b": ["x", "y"], "c": ["2", "3"]}
    assert f"rows.csv: the names stand in line {line}, below a title" in table.found[0]
    assert table.read.header == line
    assert read_source("rows.csv", table.read).data == table.data
    assert read_source("rows.csv", table.read).found == []


@pytest.mark.parametrize(
    "content",
    [
        "a;;c\nx;y;z\n",
        ";;c\nx;y;z\n",
        "a\n1\n",
        "n;p;q;r\nx;1,5;2,5;3,5\ny;1,5;2,5;3,5\n",
        "T;;\n1;2;3\n4;5;6\n",
    ],
)
def test_what_may_be_names_or_rows_is_never_taken_for_a_title(content: str) -> None:
    Path("rows.csv").write_text(content)
    try:
        assert read_source("rows.csv").read.header is None
    except StageError as error:
        assert "data.read.header (onboarding: --header N)" in str(error)  # noqa: PT017  either is right


def test_a_person_says_which_line_has_the_names() -> None:
    content = "Report\nby,me\n\na,b\n1,2\n"
    assert "data.read.header (onboarding: --header N)" in refusal(content)
    assert "nothing stands from line 9 on" in refusal(content, header=9)
    assert read_source("rows.csv", Read(header=4)).data.to_pydict() == {"a": ["1"], "b": ["2"]}


def test_an_odd_row_far_below_what_is_looked_at_is_found() -> None:
    lines = [f"{number},x" for number in range(100_000)]
    lines[99_990] += ",y"
    assert "line 99,992: 3 cells, the line of names has 2" in refusal("a,b\n" + "\n".join(lines))


def test_row_names_without_a_heading_are_the_column_index() -> None:
    table = read(',a\nMazda RX4,1\n"",2\n')
    assert table.data.to_pydict() == {"index": ["Mazda RX4", ""], "a": ["1", "2"]}
    assert table.found == ["rows.csv: the first column has no name; it is called 'index'"]


def test_a_first_column_without_a_name_gets_one_that_no_other_column_has() -> None:
    table = read('"",sex,index\n1,M,1\n2,F,1\n')
    assert list(table.data.to_pydict()) == ["index_2", "sex", "index"]
    assert table.found == ["rows.csv: the first column has no name; it is called 'index_2'"]


def test_a_table_of_names_only_has_no_rows() -> None:
    assert cells("a,b\n") == {"a": [], "b": []}
    assert cells("a,b\n\n\n") == {"a": [], "b": []}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_encoding_and_a_line_break_are_found(encoding: str, end: str) -> None:
    content = end.join(["größe,name", "1,Müller", '2,"Jäger, der"', ""]).encode(encoding)
    assert cells(content) == {"größe": ["1", "2"], "name": ["Müller", "Jäger, der"]}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("naam,x\nEén café,1\n", "cp1252"),
        ("imię,x\nzażółć gęślą jaźń,1\nŁódź i Kraków są piękne,2\n", "cp1250"),
        ("naam,x\nMüller,1\n", "cp1252"),
        ("Größe (m²),Maß\n12,1\nKündigung in Köln,2\n", "cp1252"),
        ("température (°C),³He\n12,1\nl'été à Besançon,2\n", "cp1252"),
        ("prix,x\n5 € – «déjà»,1\n", "cp1252"),
        ("都市,x\n東京都千代田区,1\n", "cp932"),
    ],
)
def test_what_is_not_utf_8_is_guessed_and_said(text: str, encoding: str) -> None:
    table = read(text.encode(encoding))
    assert table.data.to_pydict() == cells(text)
    assert table.read.encoding == encoding
    assert f"rows.csv: the text is not UTF-8; it was read as {encoding}" in table.found[0]


def test_bytes_that_are_not_of_the_encoding_are_refused_with_the_key() -> None:
    rows = b"a,b\n" + b"1,x\n" * 300_000 + "2,ü\n".encode("cp1252")
    message = refusal(rows, encoding="utf-8")
    assert "say the right one in data.read.encoding" in message
    assert "after line " in message
    assert "no encoding 'klingon' is known" in refusal("a,b\n", encoding="klingon")


def test_a_separator_that_arrow_cannot_take_is_refused() -> None:
    assert "data.read.separator: expected an ASCII character" in refusal("a§b\n1§2\n", separator="§")


def test_a_zip_of_several_files_is_refused(folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile("rows.csv.zip", "w") as archive:
        archive.writestr("1.csv", "a,b\n1,2\n")
        archive.writestr("2.csv", "a,b\n1,2\n")
    with pytest.raises(StageError, match=r"holds 2 files \(1\.csv, 2\.csv\); expected one table"):
        read_source("rows.csv.zip")


def test_what_tools_keep_in_a_folder_is_no_table() -> None:
    for name in ("inbox/a.csv", "inbox/_delta_log/0.csv", "inbox/.tmp/b.csv", "inbox/_c.csv"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a,b\n1,2\n")
    assert read_source("inbox").data.num_rows == 1


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8)


@given(
    rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=6),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_is_written_is_read_back(
    rows: list[list[str]], separator: str, encoding: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    with chdir(os.fspath(tmp_path_factory.getbasetemp())):
        table = read(written.getvalue().encode(encoding), separator=separator, quote='"')
    assert [list(row.values()) for row in table.data.to_pylist()] == rows
