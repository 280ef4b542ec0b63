"""Hostile lists of text: a bad row is a row with a reason, and a bad file ends in one line."""

import json
from pathlib import Path

import pytest
from lists import read_bytes, seen

from pipeline.ingest import bounds, delimited, documents, reading
from pipeline.ingest.cells import LONGEST_CELL
from pipeline.words.errors import InputError

A, B = "http://a.example/1.jpg", "http://a.example/2.jpg"
GOOD = [(A, "a cat", None), (B, "a dog", None)]


def line(url: str, caption: str, **more) -> bytes:
    return json.dumps({"url": url, "caption": caption, **more}).encode() + b"\n"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """The longest line, lowered."""
    for module in (delimited, reading, documents):
        monkeypatch.setattr(module, "LONGEST", 1 << 16)
    return 1 << 16


HEADS = {"csv": b"url,caption\n", "tsv": b"url\tcaption\n", "jsonl": b"", "json": b"["}


def two_rows(kind: str, between: bytes) -> bytes:
    """Two good rows with something between them."""
    if kind in ("csv", "tsv"):
        mark = b"," if kind == "csv" else b"\t"
        one, other = (mark.join([url.encode(), c.encode()]) + b"\n" for url, c, _ in GOOD)
    else:
        one, other = (line(url, caption) for url, caption, _ in GOOD)
    if kind == "json":
        return b"[" + one + b"," + between + b"," + other + b"]"
    return HEADS[kind] + one + between + b"\n" + other


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 1, 3 << 16, 5_000_000])
def test_a_line_of_any_length_is_a_row_with_a_reason(tmp_path: Path, short, kind: str, size: int):
    data = two_rows(kind, b"x" * size)
    *good, bad = sorted(read_bytes(tmp_path, f"x.{kind}", data), key=lambda row: row["url"] is None)
    assert seen(good) == GOOD
    assert (bad["url"], bad["input_error"]) == (None, "malformed_row")
    number = {"json": 1, "jsonl": 2}.get(kind, 3)
    place = f"{'row' if kind == 'json' else 'line'} {number} has more than {short:,} bytes: xxx"
    assert bad["caption"].startswith(place) == (size > short)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_number_of_a_long_line_counts_all_lines(tmp_path: Path, short, end: str):
    rows = ["url,caption", f'{A},"a', 'cat"', "", "x" * 100_000, f"{B},a dog", "y" * 100_000]
    found = read_bytes(tmp_path, "x.csv", end.join(rows).encode())
    assert seen(found)[0] == (A, f"a{end}cat", None)
    long = [row["caption"].split(":")[0] for row in found if row["input_error"]]
    assert [text.partition(" has")[0] for text in long] == ["line 5", "line 7"]
    assert sum(row["input_error"] is None for row in found) == 2


def test_a_long_line_within_a_quoted_cell_joins_no_rows(tmp_path: Path, short):
    data = f'url,caption\n{A},"a\n{"x" * 100_000}\ncat"\n{B},a dog\n'.encode()
    found = read_bytes(tmp_path, "x.csv", data)
    assert seen(found)[:1] == [(A, '"a', None)]
    assert sorted(seen(found)[1:], key=lambda row: row[0] or "")[-1] == GOOD[1]
    assert [row["input_error"] for row in found].count("malformed_row") == 2  # also `cat"`


KEYS = [[f"k{i}_{j}" for j in range(90)] for i in range(60)]
WIDE = [str(i) for i in range(1_300)]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.csv", b"x" * 300_000, "no line but those of more than 65,536 bytes"),
        ("x.jsonl", b"x" * 300_000, "no line of"),
        ("x.csv", b"url,caption" + b",c" * 5_000 + b"\n", "more than 5,000 columns"),
        ("x.tsv", b"\t".join(b"%d" % i for i in range(5_001)) + b"\n", "more than 5,000 columns"),
        ("x.jsonl", b"".join(line(A, "c", **dict.fromkeys(own, 1)) for own in KEYS),
         "has 5,402 columns"),
        ("x.jsonl", line(A, "c", a=dict.fromkeys("abcd", dict.fromkeys(WIDE, 1))),
         "has 5,200 columns"),
        ("x.json", b'{"url":["a"],"caption":["b"]' + b"".join(b',"k%d":[1]' % i for i in range(300))
         + b"}", "302 arrays, of at most 200"),
        ("x.json", b'[{"url":"a","caption":"b"}][{"url":"a","caption":"b"}]', "follows its end"),
        ("x.json", b'[{"url":"a","caption":"b"}}', "no whole JSON document"),
    ],
    ids=["a csv line", "a json line", "csv columns", "tsv columns", "keys of all rows", "fields",
         "arrays", "two documents", "a wrong bracket"],
)  # fmt: skip
def test_a_file_beyond_all_bounds_is_one_line(tmp_path: Path, short, name, data, words):
    with pytest.raises(InputError, match=words) as error:
        read_bytes(tmp_path, name, data)
    assert name in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize(
    "value",
    [
        b"[" * 501 + b"]" * 501, b'{"a":' * 600 + b"1" + b"}" * 600,
        b"[" * 200_000 + b"]" * 200_000, b"9" * 1_000_000, b'"\\', b"nul",
    ],
    ids=["lists", "objects", "very deep lists", "a long number", "an open text", "no word"],
)  # fmt: skip
def test_a_value_beyond_all_measure_is_a_malformed_row(tmp_path: Path, kind: str, value: bytes):
    if value.startswith(b'"') and kind == "json":
        value = b"tru"  # an open text would take the rest of a document with it
    bad = b'{"url":"u","caption":"c","z":' + value + b"}"
    rows = read_bytes(tmp_path, f"x.{kind}", two_rows(kind, bad))
    good = [row for row in rows if row["url"]]
    assert seen(good) == GOOD
    assert [row["input_error"] for row in rows if not row["url"]] == ["malformed_row"]


def test_deep_values_are_text_and_keep_their_row(tmp_path: Path):
    deep = b'{"a":' * 60 + b"1" + b"}" * 60
    data = b'{"url":"u","caption":"c","z":' + deep + b"}\n"
    (row,) = read_bytes(tmp_path, "x.jsonl", data)
    assert (json.loads(row["z"]), row["input_error"]) == (json.loads(deep), None)


def test_keys_of_later_rows_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "BATCH", 10)
    rows = [line(A, f"{i}") for i in range(10)]
    rows += [line(A, f"{i}", **{f"k{i}_{j}": 1 for j in range(99)}) for i in range(10, 200)]
    rows.append(line(A, "wide", **{f"k{i}": 1 for i in range(5_000)}))
    found = read_bytes(tmp_path, "x.jsonl", b"".join(rows))
    assert [row["input_error"] for row in found].count(None) == 200
    assert found[-1]["input_error"] == "malformed_row"


def test_a_long_cell_of_another_column_is_null_and_its_row_says_so(tmp_path: Path):
    rows = [line(A, "a cat", z="x"), line(B, "a dog", z="x" * (LONGEST_CELL + 1))]
    found = read_bytes(tmp_path, "x.jsonl", b"".join(rows))
    assert [(row["z"], row["input_error"]) for row in found] == [
        ("x", None), (None, "cell_invalid"),
    ]  # fmt: skip


def test_a_list_of_very_many_captions_is_one_row_with_a_reason(tmp_path: Path):
    rows = [line(A, ["c"] * 3), line(A, ["c"] * (bounds.MOST_CAPTIONS + 1)), line(B, "a dog")]
    found = read_bytes(tmp_path, "x.jsonl", b"".join(rows))
    assert seen(found) == [(A, "c", None)] * 3 + [(A, None, "cell_invalid"), GOOD[1]]
