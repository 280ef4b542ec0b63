"""Reading the list: every format, and every row of it, however broken."""

import gzip
import io
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.load import parse_job
from pipeline.errors import InputError
from pipeline.stages.ingest import Listing, look
from pipeline.stages.reading import read_batches
from pipeline.stages.rows import MAX_CAPTION, as_text, to_table
from pipeline.uid import make_uid

ROWS = [
    ("https://a.example/1.jpg", "a kangaroo made of cheese"),
    ("https://a.example/2.jpg", 'a "quoted" cat, with a comma'),
    ("https://a.example/3.jpg", "two lines:\nthe second\twith a tab"),
    ("https://a.example/4.jpg", "ein Känguru – 袋鼠 🦘"),
]


def csv_bytes(rows, header=("url", "caption"), mark=",") -> bytes:
    def cell(value: str | None) -> str:
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    lines = [mark.join(header), *(mark.join(map(cell, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def jsonl_bytes(rows, header=("url", "caption")) -> bytes:
    return "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows).encode()


def parquet_bytes(rows, header=("url", "caption")) -> bytes:
    out = io.BytesIO()
    names = {n: pa.array([row[i] for row in rows], pa.string()) for i, n in enumerate(header)}
    pq.write_table(pa.table(names), out)
    return out.getvalue()


WRITERS = {
    "csv": csv_bytes,
    "tsv": lambda rows, header=("url", "caption"): csv_bytes(rows, header, "\t"),
    "jsonl": jsonl_bytes,
    "parquet": parquet_bytes,
}


def listing(source, **values) -> Listing:
    return look(parse_job({"input": source, "name": "x", **values}, "job.yaml"), frozenset())


def read(found: Listing) -> list[dict]:
    """All rows as the sample table has them, repeats not merged."""
    return [
        row
        for source, (url, caption) in zip(found.sources, found.pairs, strict=True)
        for raw in read_batches(source)
        for row in to_table(raw, url, caption, found.passthrough, found.schema).to_pylist()
    ]


def read_bytes(folder: Path, name: str, data: bytes, **values) -> list[dict]:
    (folder / name).write_bytes(data)
    return read(listing(str(folder / name), **values))


def seen(rows: list[dict]) -> list[tuple]:
    return [(row["url"], row["caption"], row["input_error"]) for row in rows]


@pytest.mark.parametrize(
    "name",
    [
        "x.csv",
        "x.tsv",
        "x.jsonl",
        "x.ndjson",
        "x.json",
        "x.parquet",
        "x.CSV",
        "x.csv.gz",
        "x.tsv.gz",
        "x.jsonl.gz",
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str):
    data = WRITERS.get(name.split(".")[1].lower(), jsonl_bytes)(ROWS)
    rows = read_bytes(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    assert seen(rows) == [(url, caption, None) for url, caption in ROWS]
    assert [row["uid"] for row in rows] == [make_uid(*pair) for pair in ROWS]


@pytest.mark.parametrize(
    "header", [("URL", "TEXT"), ("url", "text"), ("alt", "url"), ("caption", "URL")]
)
@pytest.mark.parametrize("kind", WRITERS)
def test_the_usual_names_are_known(tmp_path: Path, kind: str, header: tuple[str, str]):
    row = tuple("https://a.example/1.jpg" if n in ("url", "URL") else "a cat" for n in header)
    rows = read_bytes(tmp_path, f"x.{kind}", WRITERS[kind]([row], header))
    assert seen(rows) == [("https://a.example/1.jpg", "a cat", None)]


def test_other_names_are_told_by_the_job(tmp_path: Path):
    data = csv_bytes([ROWS[0]], ("link", "words"))
    rows = read_bytes(tmp_path, "x.csv", data, columns={"url": "link", "caption": "words"})
    assert seen(rows) == [(*ROWS[0], None)]


def test_files_may_use_different_names_of_the_field(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(csv_bytes(ROWS[:2]))
    (tmp_path / "b.parquet").write_bytes(parquet_bytes(ROWS[2:], ("URL", "TEXT")))
    rows = read(listing(str(tmp_path)))
    assert seen(rows) == [(*pair, None) for pair in ROWS]


def test_the_format_can_be_told(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.txt", csv_bytes(ROWS, mark="\t"), input_format="tsv")
    assert len(rows) == len(ROWS)


def test_the_format_of_a_folder_chooses_its_files(tmp_path: Path):
    (tmp_path / "00000.parquet").write_bytes(parquet_bytes(ROWS))
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 4}, indent=1))
    assert len(read(listing(str(tmp_path), input_format="parquet"))) == len(ROWS)


@pytest.mark.parametrize("wanted", ["folder", "glob", "list", "file url"])
def test_folders_globs_lists_and_urls(tmp_path: Path, wanted: str):
    for i, row in enumerate(ROWS):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"{i}.csv").write_bytes(csv_bytes([row]))
    (tmp_path / "deep" / "README.md").write_text("not a list")
    (tmp_path / "deep" / "_half.csv").write_text("not,finished")
    (tmp_path / "deep" / ".9.csv").write_text("hidden")
    source = {
        "folder": str(tmp_path),
        "glob": str(tmp_path / "deep" / "[0-9].csv"),
        "list": [str(tmp_path / "deep" / f"{i}.csv") for i in range(len(ROWS))],
        "file url": f"file://{tmp_path}/deep",
    }[wanted]
    assert seen(read(listing(source))) == [(*pair, None) for pair in ROWS]


def test_a_list_on_an_object_store():
    with fsspec.open("memory://listing-test/rows.jsonl.gz", "wb") as out:
        out.write(gzip.compress(jsonl_bytes(ROWS)))
    assert seen(read(listing("memory://listing-test"))) == [(*pair, None) for pair in ROWS]


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
def test_a_line_that_is_no_row_is_a_row_with_a_reason(tmp_path: Path, name, data, broken):
    rows = read_bytes(tmp_path, name, data)
    assert [row["input_error"] for row in rows] == [None, *["malformed_row"] * broken]
    for row in rows[1:]:
        assert row["url"] is None
        assert row["caption"]  # what was there, for the auditor
        assert row["uid"]


def test_a_file_of_broken_lines_after_the_good_ones_loses_none(tmp_path: Path):
    data = jsonl_bytes(ROWS) + b"{}\n" * 3 + b"oops\n" * 2
    rows = read_bytes(tmp_path, "x.jsonl", data)
    errors = [row["input_error"] for row in rows]
    assert sorted(filter(None, errors)) == ["malformed_row"] * 2 + ["url_missing"] * 3
    assert len(rows) == len(ROWS) + 5


def test_rows_over_many_blocks_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.stages.reading.BLOCK", 1 << 16)
    lines = [f'https://a.example/{i}.jpg,"a cat\n{i}"\n' for i in range(20_000)]
    lines[::100] = [f"broken,{i},line\n" for i in range(200)]
    rows = read_bytes(tmp_path, "x.csv", ("url,caption\n" + "".join(lines)).encode())
    errors = [row["input_error"] for row in rows]
    assert (len(rows), errors.count("malformed_row"), errors.count(None)) == (20_000, 200, 19_800)
    assert len({row["uid"] for row in rows}) == 20_000


def test_lines_without_keys_are_rows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.stages.reading.BATCH", 2)
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


def test_a_surrogate_that_json_spells_out_is_invalid_too(tmp_path: Path):
    (row,) = read_bytes(tmp_path, "x.jsonl", b'{"url": "u", "caption": "a \\ud800 cat"}\n')
    assert row["input_error"] == "invalid_utf8"
    assert row["caption"] == "a \ufffd\ufffd\ufffd cat"


@pytest.mark.parametrize("kind", WRITERS)
def test_null_blank_and_huge_cells_are_rows_with_a_reason(tmp_path: Path, kind: str):
    given_rows = [
        ("u", None), ("u", ""), ("u", "  \t "), (None, "c"), ("", "c"), ("  ", "c"), (None, None),
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


def test_blank_lines_and_byte_order_marks_are_no_rows(tmp_path: Path):
    mark = b"\xef\xbb\xbf"
    for name, data in {"x.csv": csv_bytes(ROWS), "x.jsonl": jsonl_bytes(ROWS)}.items():
        blanks = data.replace(b"\nhttps", b"\n\nhttps").replace(b'\n{"', b'\n \n{"')
        rows = read_bytes(tmp_path, name, mark + blanks + b"\n\n")
        assert seen(rows) == [(*pair, None) for pair in ROWS], name


def test_blank_lines_before_the_header_hide_nothing(tmp_path: Path):
    assert len(read_bytes(tmp_path, "x.csv", b"\r\n\n" + csv_bytes(ROWS))) == len(ROWS)


def test_windows_line_ends(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.csv", b"url,caption\r\nu,a cat\r\nv,a dog\r\n")
    assert seen(rows) == [("u", "a cat", None), ("v", "a dog", None)]


def test_numbers_and_lists_for_captions_become_text(tmp_path: Path):
    data = b'{"url": "u", "caption": 7}\n{"url": "v", "caption": ["a", "b"]}\n'
    assert [row["caption"] for row in read_bytes(tmp_path, "x.jsonl", data)] == ["7", '["a", "b"]']


def test_passthrough_columns_keep_their_types(tmp_path: Path):
    table = pa.table(
        {
            "URL": ["u"], "TEXT": ["a cat"], "similarity": pa.array([0.31], pa.float32()),
            "pages": pa.array([7], pa.int16()), "when": pa.array([0], pa.timestamp("ns")),
            "nsfw": pa.array([True]), "tags": [["a", "b"]], "nothing": pa.nulls(1),
            "forum": pa.array(["x"]).dictionary_encode(), "bad": pa.array([b"\xff"]),
            "half": pa.array([0.5], pa.float16()),
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    found = listing(str(tmp_path / "x.parquet"))
    kinds = {name: str(found.schema.field(name).type) for name in found.passthrough}
    assert kinds == {
        "similarity": "float", "pages": "int16", "when": "timestamp[ns]", "nsfw": "bool",
        "tags": "string", "forum": "string", "nothing": "string", "half": "float", "bad": "string",
    }  # fmt: skip
    (row,) = read(found)
    assert row["tags"] == '["a", "b"]'
    assert (row["pages"], row["nsfw"], row["half"], row["bad"]) == (7, True, 0.5, "\ufffd")
    assert (row["forum"], row["nothing"]) == ("x", None)


def test_in_text_formats_the_fields_numbers_are_numbers(tmp_path: Path):
    data = b"url,caption,similarity,punsafe,n\nu,a cat,0.25,high,7\nv,a dog,,1e3,\n"
    rows = read_bytes(tmp_path, "x.csv", data)
    assert [(r["similarity"], r["punsafe"], r["n"]) for r in rows] == [
        (0.25, None, "7"),
        (None, 1000.0, None),
    ]
    huge = b'{"url": "u", "caption": "c", "width": 1' + b"0" * 400 + b', "height": [1]}\n'
    (row,) = read_bytes(tmp_path, "x.jsonl", huge)
    assert (row["width"], row["height"]) == (None, None)


def test_a_taken_name_gets_a_prefix_in_whatever_case(tmp_path: Path):
    header = ("url", "caption", "WIDTH", "uid", "URL", "sha256", "input_sha256", "key")
    (tmp_path / "x.csv").write_bytes(csv_bytes([("u", "c", "1", "2", "3", "4", "5", "6")], header))
    job = parse_job({"input": str(tmp_path / "x.csv"), "name": "x"}, "job.yaml")
    found = look(job, frozenset({"width", "sha256"}))
    assert {name: source for name, (source, _) in found.passthrough.items()} == {
        "input_WIDTH": "WIDTH", "input_uid": "uid", "input_URL": "URL", "input_sha256": "sha256",
        "input_input_sha256": "input_sha256", "input_key": "key",
    }  # fmt: skip
    (row,) = read(found)
    values = [row[f"input_{n}"] for n in ("WIDTH", "uid", "URL", "sha256", "input_sha256", "key")]
    assert values == [1.0, "2", "3", "4", "5", "6"]


def test_columns_of_several_files_meet_in_one_type(tmp_path: Path):
    pq.write_table(
        pa.table({"url": ["u"], "caption": ["c"], "n": pa.array([1], pa.int32()), "m": [2]}),
        tmp_path / "1.parquet",
    )
    pq.write_table(
        pa.table({"url": ["v"], "caption": ["c"], "n": [2.5], "m": ["two"]}), tmp_path / "2.parquet"
    )
    (tmp_path / "3.jsonl").write_bytes(jsonl_bytes([("w", "c")]))
    rows = read(listing(str(tmp_path)))
    assert [(row["n"], row["m"]) for row in rows] == [(1.0, "2"), (2.5, "two"), (None, None)]


def test_a_column_without_a_name_goes_by_its_place(tmp_path: Path):
    (row,) = read_bytes(tmp_path, "x.csv", b",url,caption\n17,u,c\n")
    assert (row["column_1"], row["url"], row["caption"]) == ("17", "u", "c")


def test_an_empty_file_among_others_says_nothing(tmp_path: Path):
    (tmp_path / "1.csv").write_bytes(b"")
    (tmp_path / "2.csv").write_bytes(csv_bytes(ROWS))
    (tmp_path / "3.jsonl").write_bytes(b"\n")
    assert len(read(listing(str(tmp_path)))) == len(ROWS)


def test_a_file_without_a_url_column_is_named(tmp_path: Path):
    (tmp_path / "1.csv").write_bytes(csv_bytes(ROWS))
    (tmp_path / "2.csv").write_bytes(csv_bytes(ROWS, ("caption", "legend")))
    with pytest.raises(InputError, match=r"2\.csv: no url column .* are caption, legend"):
        listing(str(tmp_path))


@given(st.text() | st.binary() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_any_cell_becomes_text_that_can_be_written(value):
    text, valid = as_text(value)
    assert (text is None) == (value is None)
    if text is not None:
        text.encode()
    if isinstance(value, str) and valid:
        assert text == value


CELLS = st.none() | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"), max_size=12
)


@settings(max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_any_list_gives_the_same_uids_in_every_format(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp("any")
    found = {kind: read_bytes(folder, f"x.{kind}", WRITERS[kind](given_rows)) for kind in WRITERS}
    due = [make_uid(url or None, caption or None) for url, caption in given_rows]
    for kind, rows in found.items():
        assert [row["uid"] for row in rows] == due, kind
        assert [row["input_error"] for row in rows] == [
            row["input_error"] for row in found["parquet"]
        ], kind
