"""Reading the list: every row, even a malformed one, becomes a row of the table."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lists import ROWS, WRITERS, csv_bytes, jsonl_bytes, read_bytes, seen

from pipeline.ingest.rows import MAX_CAPTION, as_text
from pipeline.words.uid import make_uid


@pytest.mark.parametrize(
    ("name", "data", "broken"),
    [
        ("x.jsonl", b'{"url": "u", "caption": "c"}\n{"url": "u", \n[1, 2]\n"text"\n', 3),
        ("x.jsonl", b'{"url": "u", "caption": "c"}\n' + b"[" * 200_000 + b"\n", 1),
        ("x.csv", b"url,caption\nu,c\none\nu,c,d\n", 2),
        ("x.tsv", b"url\tcaption\nu\tc\nu\tc\td\n", 1),
        ("x.csv", b"url,caption\nu,c\n\xff\xfe,b,c\n", 1),
    ],
    ids=["json", "deep json", "csv", "tsv", "csv not utf8"],
)
def test_a_malformed_line_becomes_a_row_with_a_reason(tmp_path: Path, name, data, broken):
    rows = read_bytes(tmp_path, name, data)
    assert [row["input_error"] for row in rows] == [None, *["malformed_row"] * broken]
    for row in rows[1:]:
        assert row["url"] is None
        assert row["caption"]  # the text is kept for auditors
        assert row["uid"]


def test_broken_lines_after_good_ones_are_not_lost(tmp_path: Path):
    data = jsonl_bytes(ROWS) + b"{}\n" * 3 + b"oops\n" * 2
    rows = read_bytes(tmp_path, "x.jsonl", data)
    errors = [row["input_error"] for row in rows]
    assert sorted(filter(None, errors)) == ["malformed_row"] * 2 + ["url_missing"] * 3
    assert len(rows) == len(ROWS) + 5


def test_rows_over_many_blocks_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.ingest.delimited.BLOCK", 1 << 16)
    lines = [f'https://a.example/{i}.jpg,"a cat\n{i}"\n' for i in range(20_000)]
    lines[::100] = [f"broken,{i},line\n" for i in range(200)]
    rows = read_bytes(tmp_path, "x.csv", ("url,caption\n" + "".join(lines)).encode())
    errors = [row["input_error"] for row in rows]
    assert (len(rows), errors.count("malformed_row"), errors.count(None)) == (20_000, 200, 19_800)
    assert len({row["uid"] for row in rows}) == 20_000


def test_json_objects_without_keys_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.ingest.reading.BATCH", 2)
    rows = read_bytes(tmp_path, "x.jsonl", jsonl_bytes(ROWS[:2]) + b"{}\n{}\n")
    assert [row["input_error"] for row in rows] == [None, None, "url_missing", "url_missing"]


BAD = b"a caf\xe9"


@pytest.mark.parametrize("kind", WRITERS)
def test_invalid_utf8_is_a_row_with_a_reason_and_one_uid_in_every_format(tmp_path: Path, kind):
    if kind == "parquet":
        out = io.BytesIO()
        bad = pa.array([BAD, b"fine"], pa.binary()).view(pa.string())
        pq.write_table(pa.table({"url": ["https://a.example/1.jpg", "u"], "caption": bad}), out)
        data = out.getvalue()
    else:
        good = WRITERS[kind]([("https://a.example/1.jpg", "CAPTION"), ("u", "fine")])
        data = good.replace(b"CAPTION", BAD)
    rows = read_bytes(tmp_path, f"x.{kind}", data)
    assert seen(rows) == [
        ("https://a.example/1.jpg", "a caf\ufffd", "invalid_utf8"),
        ("u", "fine", None),
    ]
    assert rows[0]["uid"] == make_uid("https://a.example/1.jpg", "a caf\ufffd")


def test_an_escaped_surrogate_in_json_is_invalid_utf8(tmp_path: Path):
    (row,) = read_bytes(tmp_path, "x.jsonl", b'{"url": "u", "caption": "a \\ud800 cat"}\n')
    assert row["input_error"] == "invalid_utf8"
    assert row["caption"] == "a \ufffd\ufffd\ufffd cat"


@pytest.mark.parametrize("kind", WRITERS)
def test_null_blank_and_huge_cells_are_rows_with_a_reason(tmp_path: Path, kind: str):
    given_rows = [
        ("u", None), ("u", ""), ("u", "   "), (None, "c"), ("", "c"), ("  ", "c"), (None, None),
        ("u", "x" * 1_000_000), ("u", "x" * MAX_CAPTION), ("u", "c"),
    ]  # fmt: skip
    rows = read_bytes(tmp_path, f"x.{kind}", WRITERS[kind](given_rows))
    assert [row["input_error"] for row in rows] == [
        "caption_missing", "caption_missing", "caption_missing", "url_missing", "url_missing",
        "url_missing", "url_missing", "caption_oversize", None, None,
    ]  # fmt: skip
    assert len(rows[7]["caption"]) == MAX_CAPTION
    assert rows[7]["uid"] == make_uid("u", "x" * 1_000_000)  # of the whole caption


def test_a_first_line_of_a_megabyte_is_read(tmp_path: Path):
    data = jsonl_bytes([("u", "x" * 1_000_000), *ROWS])
    assert len(read_bytes(tmp_path, "x.jsonl", data)) == 1 + len(ROWS)


def test_blank_lines_and_byte_order_marks_are_not_rows(tmp_path: Path):
    mark = b"\xef\xbb\xbf"
    for name, data in {"x.csv": csv_bytes(ROWS), "x.jsonl": jsonl_bytes(ROWS)}.items():
        blanks = data.replace(b"\nhttps", b"\n\nhttps").replace(b'\n{"', b'\n \n{"')
        rows = read_bytes(tmp_path, name, mark + blanks + b"\n\n")
        assert seen(rows) == [(*pair, None) for pair in ROWS], name


def test_blank_lines_before_the_header_are_skipped(tmp_path: Path):
    assert len(read_bytes(tmp_path, "x.csv", b"\r\n\n" + csv_bytes(ROWS))) == len(ROWS)


def test_windows_line_ends(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.csv", b"url,caption\r\nu,a cat\r\nv,a dog\r\n")
    assert seen(rows) == [("u", "a cat", None), ("v", "a dog", None)]


def test_a_number_or_an_object_for_a_caption_becomes_text(tmp_path: Path):
    data = b'{"url": "u", "caption": 7}\n{"url": "v", "caption": {"en": "a"}}\n'
    assert [r["caption"] for r in read_bytes(tmp_path, "x.jsonl", data)] == ["7", '{"en": "a"}']


@given(st.text() | st.binary() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_any_cell_becomes_text_that_can_be_written(value):
    text, valid = as_text(value)
    assert (text is None) == (value is None)
    if text is not None:
        text.encode()
    if isinstance(value, str) and valid:
        assert text == value


CELLS = st.none() | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\t\r\n"), max_size=12
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_any_list_gives_the_same_uids_in_every_format(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp("any")
    found = {kind: read_bytes(folder, f"x.{kind}", WRITERS[kind](given_rows)) for kind in WRITERS}
    expected = [make_uid(url or None, caption or None) for url, caption in given_rows]
    for kind, rows in found.items():
        assert [row["uid"] for row in rows] == expected, kind
        assert [row["input_error"] for row in rows] == [
            row["input_error"] for row in found["parquet"]
        ], kind
