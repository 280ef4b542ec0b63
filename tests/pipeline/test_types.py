"""Values of a list keep their types; a cell that does not fit its column is a row with a reason."""

import datetime
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lists import listing, read

from pipeline.ingest.types import common_type
from pipeline.words.errors import InputError

BIG = 2**53 + 1
"""The first whole number that a double cannot hold."""


def parquet(path: Path, **columns) -> Path:
    rows = len(next(iter(columns.values())))
    pairs = {"url": [f"u{path.name}{i}" for i in range(rows)], "caption": ["a cat"] * rows}
    pq.write_table(pa.table({**pairs, **columns}), path)
    return path


def lines(path: Path, *rows: dict) -> Path:
    pairs = [{"url": f"u{i}", "caption": "a cat", **row} for i, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return path


def kinds(found) -> dict[str, str]:
    return {name: str(kind) for name, (_, kind) in found.passthrough.items()}


def test_numbers_and_truths_of_json_stay_what_they_are(tmp_path: Path):
    found = listing(str(lines(
        tmp_path / "x.jsonl",
        {"n": 7, "x": 1, "ok": True, "id": BIG, "mixed": 1, "none": None, "wide": 2**63},
        {"n": None, "x": 0.5, "ok": False, "id": -BIG, "mixed": "a", "none": None, "wide": 1},
    )))  # fmt: skip
    assert kinds(found) == {
        "n": "int64", "x": "double", "ok": "bool", "id": "int64", "mixed": "string",
        "none": "string", "wide": "uint64",
    }  # fmt: skip
    one, two = read(found)
    assert [one[name] for name in ("n", "x", "ok", "id", "mixed")] == [7, 1.0, True, BIG, "1"]
    assert [two[name] for name in ("n", "x", "ok", "id", "mixed")] == [None, 0.5, False, -BIG, "a"]
    assert (one["input_error"], two["input_error"]) == (None, None)


def test_a_cell_that_does_not_fit_is_a_row_with_a_reason(tmp_path: Path):
    rows = [{"n": i, "ok": True} for i in range(10_000)]
    odd = [{"n": 0.5, "ok": True}, {"n": "x", "ok": True}, {"n": 3.0, "ok": True},
           {"n": True, "ok": True}, {"n": 1, "ok": 1}, {"n": 2**70, "ok": None}]  # fmt: skip
    found = read(listing(str(lines(tmp_path / "x.jsonl", *rows, *odd))))
    assert [(row["n"], row["ok"], row["input_error"]) for row in found[10_000:]] == [
        (None, True, "cell_invalid"), (None, True, "cell_invalid"), (3, True, None),
        (None, True, "cell_invalid"), (1, None, "cell_invalid"), (None, None, "cell_invalid"),
    ]  # fmt: skip
    assert not any(row["input_error"] for row in found[:10_000])


def test_text_in_a_known_column_of_numbers_is_a_row_with_a_reason(tmp_path: Path):
    (tmp_path / "x.csv").write_text("url,caption,punsafe\nu,a cat,high\nv,a cat,\nw,a cat,1e-3\n")
    rows = read(listing(str(tmp_path / "x.csv")))
    assert [(row["punsafe"], row["input_error"]) for row in rows] == [
        (None, "cell_invalid"), (None, None), (0.001, None),
    ]  # fmt: skip


def test_a_missing_caption_is_named_before_an_odd_cell(tmp_path: Path):
    (tmp_path / "x.csv").write_text("url,caption,punsafe\nu,,high\n")
    (row,) = read(listing(str(tmp_path / "x.csv")))
    assert row["input_error"] == "caption_missing"


def test_null_in_one_file_takes_the_type_of_the_other(tmp_path: Path):
    parquet(tmp_path / "1.parquet", n=pa.nulls(1), m=[1.5])
    parquet(tmp_path / "2.parquet", n=[0.5], m=pa.nulls(1))
    lines(tmp_path / "3.jsonl", {"n": None, "m": None})
    found = listing(str(tmp_path))
    assert kinds(found) == {"n": "double", "m": "double"}
    assert [(row["n"], row["m"]) for row in read(found)] == [(None, 1.5), (0.5, None), (None, None)]


def test_whole_numbers_that_pandas_wrote_as_doubles_are_whole_again(tmp_path: Path):
    parquet(tmp_path / "1.parquet", id=[BIG, 2])
    parquet(tmp_path / "2.parquet", id=[7.0, None])
    found = listing(str(tmp_path))
    assert kinds(found) == {"id": "int64"}
    assert [row["id"] for row in read(found)] == [BIG, 2, 7, None]


def test_a_later_fraction_among_whole_numbers_is_a_row_with_a_reason(tmp_path: Path):
    parquet(tmp_path / "1.parquet", id=[BIG])
    parquet(tmp_path / "2.parquet", id=[*map(float, range(10_000)), 0.5, 1e300])
    rows = read(listing(str(tmp_path)))
    assert [(row["id"], row["input_error"]) for row in rows[-3:]] == [
        (9999, None), (None, "cell_invalid"), (None, "cell_invalid"),
    ]  # fmt: skip


def test_fractions_beside_small_whole_numbers_are_doubles(tmp_path: Path):
    parquet(tmp_path / "1.parquet", n=[1, 2])
    parquet(tmp_path / "2.parquet", n=[0.5])
    found = listing(str(tmp_path))
    assert kinds(found) == {"n": "double"}
    assert [row["n"] for row in read(found)] == [1.0, 2.0, 0.5]


def test_ids_that_fractions_would_round_end_in_one_line_that_names_both_files(tmp_path: Path):
    parquet(tmp_path / "1.parquet", id=[BIG])
    parquet(tmp_path / "2.parquet", id=[0.5])
    message = r"`id` has whole numbers in .*1\.parquet that would be rounded .* in .*2\.parquet"
    with pytest.raises(InputError, match=message):
        listing(str(tmp_path))


def test_long_numbers_with_and_without_a_sign_are_exact(tmp_path: Path):
    parquet(tmp_path / "1.parquet", id=pa.array([2**64 - 1], pa.uint64()))
    parquet(tmp_path / "2.parquet", id=pa.array([-1], pa.int64()))
    found = listing(str(tmp_path))
    assert [int(row["id"]) for row in read(found)] == [2**64 - 1, -1]


_KINDS = [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.float32(),
          pa.float64(), pa.string(), pa.bool_(), pa.null(), pa.timestamp("us")]  # fmt: skip


@given(st.sampled_from(_KINDS), st.sampled_from(_KINDS))
def test_a_common_type_does_not_depend_on_the_order_and_rounds_nothing(a, b):
    common = common_type(a, b)
    assert common == common_type(b, a)
    if common is None:
        assert {pa.types.is_integer(a), pa.types.is_integer(b)} == {True, False}
        return
    for kind in (a, b):
        if pa.types.is_integer(kind) and not pa.types.is_string(common):
            most = 2 ** (kind.bit_width - pa.types.is_signed_integer(kind)) - 1
            assert int(pa.array([most], kind).cast(common)[0].as_py()) == most


def odd_columns() -> dict[str, pa.Array]:
    """Values that Parquet holds and Python or DuckDB do not."""
    return {
        "late": pa.array([253402300800, None], pa.timestamp("s")),  # the year 10000
        "late_date": pa.array([2**30, 0], pa.int32()).cast(pa.date32()),
        "zone": pa.array([0, 1], pa.timestamp("us", "Mars/Phobos")),
        "offset": pa.array([0, 1], pa.timestamp("us", "+02:00")),
        "huge": pa.array([decimal.Decimal(10) ** 50, None], pa.decimal256(60, 2)),
        "exact": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
        "nul": pa.array(["a\0b", "\0"]),
        "clock": pa.array([datetime.time(1, 2), None], pa.time64("us")),
        "span": pa.array([2**62, 1], pa.duration("s")),
        "bytes": pa.array([b"\xff\0", b""]),
        "nested": pa.array([{"a": [1, None]}, None]),
    }


def test_odd_values_are_read_and_end_no_job(tmp_path: Path):
    rows = read(listing(str(parquet(tmp_path / "x.parquet", **odd_columns()))))
    assert len(rows) == 2


def test_lists_and_structs_stay_what_they_are(tmp_path: Path):
    boxes = [[[0.1, 0.2]], []]
    origin = [{"page": "p", "likes": 3, "tags": ["x"]}, None]
    other = {"page": "q", "likes": 1, "tags": None}
    parquet(tmp_path / "1.parquet", boxes=boxes, origin=origin)
    parquet(tmp_path / "2.parquet", boxes=pa.nulls(1), origin=[other])
    found = listing(str(tmp_path))
    assert kinds(found) == {
        "boxes": "list<element: list<element: double>>",
        "origin": "struct<page: string, likes: int64, tags: list<element: string>>",
    }
    rows = read(found)
    assert [row["boxes"] for row in rows] == [*boxes, None]
    assert [row["origin"] for row in rows] == [*origin, other]


def test_lists_and_like_objects_of_json_stay_nested(tmp_path: Path):
    found = listing(str(lines(
        tmp_path / "x.jsonl",
        {"tags": ["a", "b"], "box": {"x": 1, "y": 0.5}, "mixed": [1, "a"], "free": {"a": 1}},
        {"tags": [], "box": {"x": 2, "y": 1}, "mixed": ["b"], "free": {"b": 1}},
    )))  # fmt: skip
    assert kinds(found) == {
        "tags": "list<element: string>", "box": "struct<x: int64, y: double>", "mixed": "string",
        "free": "string",
    }  # fmt: skip
    one, two = read(found)
    assert (one["tags"], one["box"], one["mixed"], one["free"]) == (
        ["a", "b"], {"x": 1, "y": 0.5}, '[1, "a"]', '{"a": 1}',
    )  # fmt: skip
    assert (two["tags"], two["box"]) == ([], {"x": 2, "y": 1.0})


def test_a_member_that_does_not_fit_is_a_row_with_a_reason(tmp_path: Path):
    rows = [{"tags": ["a"], "n": [1]} for _ in range(10_000)]
    odd = [{"tags": "a", "n": [1]}, {"tags": ["b"], "n": ["x"]}, {"tags": ["\ud800"], "n": [1]}]
    found = read(listing(str(lines(tmp_path / "x.jsonl", *rows, *odd))))[10_000:]
    assert [(row["tags"], row["n"], row["input_error"]) for row in found] == [
        (None, [1], "cell_invalid"), (["b"], None, "cell_invalid"), (None, [1], "cell_invalid"),
    ]  # fmt: skip
    bad = pa.array([[b"\xff"], [b"ok"]], pa.list_(pa.binary())).cast(
        pa.list_(pa.string()), safe=False
    )
    (first, second) = read(listing(str(parquet(tmp_path / "x.parquet", tags=bad))))
    assert (first["tags"], first["input_error"]) == (None, "cell_invalid")
    assert (second["tags"], second["input_error"]) == (["ok"], None)


def test_nested_columns_that_differ_end_in_one_line_that_names_both_files(tmp_path: Path):
    parquet(tmp_path / "1.parquet", box=[[1.5]])
    parquet(tmp_path / "2.parquet", box=["x"])
    message = r"`box` is list<.*> in .*1\.parquet and string in .*2\.parquet"
    with pytest.raises(InputError, match=message):
        listing(str(tmp_path))


def test_text_numbers_beside_whole_ones_of_another_file_fit(tmp_path: Path):
    parquet(tmp_path / "1.parquet", width=[640], aesthetic=[5])
    (tmp_path / "2.csv").write_text("url,caption,width,aesthetic\nv,a cat,512,5.5\n")
    found = listing(str(tmp_path))
    assert kinds(found) == {"width": "int64", "aesthetic": "double"}
    assert [(row["width"], row["aesthetic"], row["input_error"]) for row in read(found)] == [
        (640, 5.0, None), (512, 5.5, None),
    ]  # fmt: skip


def test_not_a_number_among_whole_numbers_is_a_null(tmp_path: Path):
    parquet(tmp_path / "1.parquet", n=[640])
    parquet(tmp_path / "2.parquet", n=[1.0, float("nan")])
    found = read(listing(str(tmp_path)))
    assert [(row["n"], row["input_error"]) for row in found] == [
        (640, None),
        (1, None),
        (None, None),
    ]


def test_long_unsigned_numbers_beside_whole_doubles_are_kept(tmp_path: Path):
    parquet(tmp_path / "1.parquet", n=pa.array([2**63 + 5], pa.uint64()))
    parquet(tmp_path / "2.parquet", n=[1.0])
    found = read(listing(str(tmp_path)))
    assert [(int(row["n"]), row["input_error"]) for row in found] == [(2**63 + 5, None), (1, None)]


def test_lists_and_structs_of_bytes_or_maps_are_text_and_no_row_is_lost(tmp_path: Path):
    maps = pa.array([{"a": [("x", 1)]}], pa.struct([("a", pa.map_(pa.string(), pa.int64()))]))
    image = pa.array([{"bytes": b"\xff\xd8", "path": "x"}])
    path = parquet(tmp_path / "x.parquet", image=image, maps=maps, raw=[[b"\xff"]])
    found = listing(str(path))
    assert set(kinds(found).values()) == {"string"}
    (row,) = read(found)
    assert row["input_error"] is None


@pytest.mark.parametrize("empty", [[], {"z": None}])
def test_what_was_empty_in_the_first_rows_can_hold_anything_later(tmp_path: Path, empty):
    later = ["a"] if empty == [] else {"z": "q"}
    rows = [{"tags": empty} for _ in range(10_000)] + [{"tags": later}]
    *_, last = read(listing(str(lines(tmp_path / "x.jsonl", *rows))))
    assert (last["tags"], last["input_error"]) == (json.dumps(later), None)


def test_nested_numbers_and_fields_that_differ_between_files_have_a_common_type(tmp_path: Path):
    lines(tmp_path / "1.jsonl", {"box": [1, 2], "m": {"a": 1}})
    lines(tmp_path / "2.jsonl", {"box": [1.5, 2], "m": {"a": 1, "b": "x"}})
    found = listing(str(tmp_path))
    assert kinds(found) == {"box": "list<element: double>", "m": "struct<a: int64, b: string>"}
    one, two = read(found)
    assert (one["box"], one["m"]) == ([1.0, 2.0], {"a": 1, "b": None})
    assert (two["box"], two["m"]) == ([1.5, 2.0], {"a": 1, "b": "x"})


def test_deep_json_is_text(tmp_path: Path):
    deep: list = []
    for _ in range(400):
        deep = [deep]
    path = lines(tmp_path / "x.jsonl", {"deep": deep})
    (row,) = read(listing(str(path)))
    assert (json.loads(row["deep"]), row["input_error"]) == (deep, None)
