"""Quotes in CSV and TSV: no quote in a caption makes the reader lose rows."""

import csv
import gzip
import io
import re
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lists import read_bytes, seen

from pipeline.ingest import delimited
from pipeline.ingest.delimited import read_header, read_rows
from pipeline.ingest.source import Source
from pipeline.words.errors import PartError

WEB = [
    '"Hello world', 'Hello world"', '5" pipe', 'say "hi" now', '"hi" she said', '""', '""hello',
    'TV 32"', '"', '"""', 'a "b', "plain",
]  # fmt: skip
"""Captions as scraped, none with a comma, so that they can be written without quoting."""


def plain_list(captions: list[str], mark: str) -> bytes:
    rows = [f"https://a.example/{i}.jpg{mark}{text}\n" for i, text in enumerate(captions)]
    return f"url{mark}caption\n{''.join(rows)}".encode()


def captions_of(rows) -> list[str | None]:
    assert [row["url"] for row in rows] == [f"https://a.example/{i}.jpg" for i in range(len(rows))]
    return [row["caption"] for row in rows]


@pytest.mark.parametrize("caption", WEB)
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_an_unbalanced_quote_changes_no_other_row(tmp_path: Path, kind: str, caption: str):
    mark = "," if kind == "csv" else "\t"
    given_rows = ["before", caption, *["after"] * 200]
    rows = read_bytes(tmp_path, f"x.{kind}", plain_list(given_rows, mark))
    expected = given_rows if (kind, caption) != ("csv", '""') else ["before", "", *["after"] * 200]
    assert captions_of(rows) == expected


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_unbalanced_quotes_of_many_kinds_in_one_list(tmp_path: Path, kind: str):
    captions = [text for text in WEB for _ in range(3) if text != '""'] * 5
    mark = "," if kind == "csv" else "\t"
    rows = read_bytes(tmp_path, f"x.{kind}", plain_list(captions, mark))
    assert captions_of(rows) == captions


def test_a_quote_in_a_later_row_does_not_close_an_unbalanced_one(tmp_path: Path):
    captions = ['"Hello world', "between", "a, b", 'TV 32"', "after"]
    rows = read_bytes(tmp_path, "x.csv", plain_list(captions, ","))
    assert [(row["caption"], row["input_error"]) for row in rows] == [
        ('"Hello world', None), ("between", None), ('TV 32"', None), ("after", None),
        ("https://a.example/2.jpg,a, b", "malformed_row"),
    ]  # fmt: skip


def test_a_comma_after_an_unbalanced_quote_makes_one_broken_row(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.csv", b'url,caption\nu,"Hello, world\nv,"a, b"\nw,c\n')
    assert seen(rows) == [
        ("v", "a, b", None), ("w", "c", None), (None, 'u,"Hello, world', "malformed_row"),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "cut"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_quotes_are_read_the_same_with_any_line_ends_and_compression(
    tmp_path: Path, end: str, last: bool, packed: bool, mark
):
    lines = ['"url","caption"', 'u,"Hello', 'v,"two', 'lines, and ""more"""', 'w,say "hi"', 'x,"']
    data = mark + (end.join(lines) + (end if last else "")).encode()
    name = "x.csv.gz" if packed else "x.csv"
    rows = read_bytes(tmp_path, name, gzip.compress(data) if packed else data)
    assert seen(rows) == [
        ("u", '"Hello', None), ("v", f'two{end}lines, and "more"', None), ("w", 'say "hi"', None),
        ("x", '"', None),
    ]  # fmt: skip


def test_quotes_in_the_header_and_in_addresses(tmp_path: Path):
    data = (
        b'url,caption,"a\nb",c"d\n"https://a.example/1,2.jpg",x,1,2\n"https://b,y,1,2\nu"v",z,1,2\n'
    )
    rows = read_bytes(tmp_path, "x.csv", data)
    assert [(row["url"], row["caption"], row["a\nb"], row['c"d']) for row in rows] == [
        ("https://a.example/1,2.jpg", "x", "1", "2"), ('"https://b', "y", "1", "2"),
        ('u"v"', "z", "1", "2"),
    ]  # fmt: skip


def test_invalid_utf8_next_to_unbalanced_quotes(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.csv", b'url,caption\nu,"caf\xe9\nv,"c\xc3\xa9, x\nw,\xc4\x80\n')
    assert seen(rows) == [
        ("u", '"caf\ufffd', "invalid_utf8"), ("w", "\u0100", None),
        (None, 'v,"cé, x', "malformed_row"),
    ]  # fmt: skip


def test_a_quoted_cell_longer_than_any_row_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delimited, "LONGEST", 1 << 10)
    long = b'url,caption\nu,"' + b"line\n" * 300 + b'end"\nv,c\n'
    rows = read_bytes(tmp_path, "x.csv", long)
    assert [row["caption"] for row in rows] == ['"line', "c", *["line"] * 299, 'end"']


def test_rows_that_the_parser_loses_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parse = delimited._parse

    def losing(source, data, columns):
        table, broken = parse(source, data, columns)
        return (table.slice(0, 3) if columns else table), broken

    monkeypatch.setattr(delimited, "_parse", losing)
    with pytest.raises(PartError, match=r"x\.csv: of 5 rows 3 were read"):
        read_bytes(tmp_path, "x.csv", plain_list(["a"] * 4, ","))


QUOTED = re.compile(r'"((?:[^"]|"")*+)"(?=[,\r\n]|\Z)')
ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*:)?//")


def is_row(line: str, columns: int) -> bool:
    cells = line.split(",")
    return len(cells) == columns and any(ADDRESS.match(cell) for cell in cells)


def one_by_one(text: str, columns: int) -> list[tuple[str, list[str]]]:
    """A plain implementation of the rule of `pipeline.ingest.quoting`, character by character."""
    rows, at = [], 0
    while at < len(text):
        if text[at] in "\r\n":
            at += 1
            continue
        start, cells = at, []
        while not cells or text[at - 1 : at] == ",":
            found = QUOTED.match(text, at)
            if found:
                after = re.compile(r"[\r\n]|\Z").search(text, found.end())
                lines = re.split(r"[\r\n]", text[at : after.start()])[1:]
                if any(is_row(line, columns) for line in lines):
                    found = None
            if found:
                cells.append(found[1].replace('""', '"'))
            else:
                found = re.compile(r"[^,\r\n]*").match(text, at)
                cells.append(found[0])
            at = found.end()
            if text[at : at + 1] == ",":
                at += 1
            else:
                break
        rows.append((text[start:at], cells))
    return rows


def cells_of(path: Path, data: bytes, columns: int) -> tuple[list[list[str]], list[str]]:
    path.write_bytes(data)
    source = Source(path.as_uri(), "csv", "", len(data))
    rows, broken = [], []
    for block in read_rows(source, columns):
        rows += [
            [(cell or b"").decode() for cell in row] for row in zip(*block.columns, strict=True)
        ]
        broken += [line.decode() for line in block.broken]
    return rows, broken


SOUP = st.lists(
    st.sampled_from(['"', '""', ",", ',"', '",', "\n", "\r\n", "\r", "a", "ü", "//b", "http://c,d"]),
    max_size=50,
).map("".join)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(SOUP, st.sampled_from([1, 7, 30, 1 << 20]))
@example('a,"b\nhttp://c,d\ne,f"\n', 7)
@example('"\n//b,"\r\n', 1)
def test_every_line_of_random_text_is_a_row_or_broken(tmp_path_factory, text: str, block: int):
    path = tmp_path_factory.getbasetemp() / "random.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        rows, broken = cells_of(path, f"url,caption\n{text}".encode(), 2)
    expected = one_by_one(text, 2)
    assert rows == [cells for _, cells in expected if len(cells) == 2]
    assert broken == [line for line, cells in expected if len(cells) != 2]


CELL = st.text(
    st.sampled_from('",\r\n/:ab é袋') | st.characters(exclude_categories=("Cs",)), max_size=9
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(CELL, CELL, CELL), max_size=12),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([1, 7, 30, 1 << 20]),
)  # fmt: skip
def test_what_a_csv_writer_writes_comes_back(tmp_path_factory, rows, quoting, end, block):
    lines = [line for row in rows for cell in row for line in re.split(r"[\r\n]", cell)[1:]]
    assume(not any("//" in line for line in lines))  # a row within a cell is a row, see `quoting`
    if end == "\n":  # then the writer sees no line end in a CR, and does not quote it
        rows = [tuple(cell.replace("\r", " ") for cell in row) for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerow(("url", "caption", "n"))
    writer.writerows(rows)
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        found, broken = cells_of(path, out.getvalue().encode(), 3)
    assert (found, broken) == ([list(row) for row in rows], [])
    assert read_header(Source(path.as_uri(), "csv", "", 1)) == [b"url", b"caption", b"n"]
