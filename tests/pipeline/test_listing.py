"""Finding the list: its files, its formats and its columns."""

import gzip
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists import (
    ROWS,
    WRITERS,
    csv_bytes,
    jsonl_bytes,
    listing,
    parquet_bytes,
    read,
    read_bytes,
    seen,
    tsv_bytes,
)

from pipeline.config.load import parse_job
from pipeline.ingest.deal import find_listing
from pipeline.words.errors import InputError
from pipeline.words.uid import make_uid


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


def test_the_job_can_name_other_columns(tmp_path: Path):
    data = csv_bytes([ROWS[0]], ("link", "words"))
    rows = read_bytes(tmp_path, "x.csv", data, columns={"url": "link", "caption": "words"})
    assert seen(rows) == [(*ROWS[0], None)]


def test_files_may_use_different_usual_column_names(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(csv_bytes(ROWS[:2]))
    (tmp_path / "b.parquet").write_bytes(parquet_bytes(ROWS[2:], ("URL", "TEXT")))
    rows = read(listing(str(tmp_path)))
    assert seen(rows) == [(*pair, None) for pair in ROWS]


def test_the_job_can_name_the_format(tmp_path: Path):
    rows = read_bytes(tmp_path, "x.txt", tsv_bytes(ROWS), input_format="tsv")
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
        "tags": "list<element: string>", "forum": "string", "nothing": "string", "half": "float",
        "bad": "string",
    }  # fmt: skip
    (row,) = read(found)
    assert row["tags"] == ["a", "b"]
    assert (row["pages"], row["nsfw"], row["half"], row["bad"]) == (7, True, 0.5, "\ufffd")
    assert (row["forum"], row["nothing"]) == ("x", None)


def test_in_text_formats_known_number_columns_are_numbers(tmp_path: Path):
    data = b"url,caption,similarity,punsafe,n\nu,a cat,0.25,high,7\nv,a dog,,1e3,\n"
    rows = read_bytes(tmp_path, "x.csv", data)
    assert [(r["similarity"], r["punsafe"], r["n"]) for r in rows] == [
        (0.25, None, "7"),
        (None, 1000.0, None),
    ]
    huge = b'{"url": "u", "caption": "c", "width": 1' + b"0" * 400 + b', "height": [1]}\n'
    (row,) = read_bytes(tmp_path, "x.jsonl", huge)
    assert (row["width"], row["height"]) == (None, None)


def test_a_column_name_in_use_gets_a_prefix_in_any_case(tmp_path: Path):
    header = ("url", "caption", "WIDTH", "uid", "URL", "sha256", "input_sha256", "key")
    (tmp_path / "x.csv").write_bytes(csv_bytes([("u", "c", "1", "2", "3", "4", "5", "6")], header))
    job = parse_job({"input": str(tmp_path / "x.csv"), "name": "x"}, "job.yaml")
    found = find_listing(job, frozenset({"width", "sha256"}))
    assert {name: source for name, (source, _) in found.passthrough.items()} == {
        "input_WIDTH": "WIDTH", "input_uid": "uid", "input_URL": "URL", "input_sha256": "sha256",
        "input_input_sha256": "input_sha256", "input_key": "key",
    }  # fmt: skip
    (row,) = read(found)
    values = [row[f"input_{n}"] for n in ("WIDTH", "uid", "URL", "sha256", "input_sha256", "key")]
    assert values == [1.0, "2", "3", "4", "5", "6"]


def test_a_column_of_several_files_gets_a_common_type(tmp_path: Path):
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


def test_a_column_without_a_name_is_named_by_its_position(tmp_path: Path):
    (row,) = read_bytes(tmp_path, "x.csv", b",url,caption\n17,u,c\n")
    assert (row["column_1"], row["url"], row["caption"]) == ("17", "u", "c")


def test_an_empty_file_among_others_is_skipped(tmp_path: Path):
    (tmp_path / "1.csv").write_bytes(b"")
    (tmp_path / "2.csv").write_bytes(csv_bytes(ROWS))
    (tmp_path / "3.jsonl").write_bytes(b"\n")
    assert len(read(listing(str(tmp_path)))) == len(ROWS)


def test_a_file_without_a_url_column_is_named(tmp_path: Path):
    (tmp_path / "1.csv").write_bytes(csv_bytes(ROWS))
    (tmp_path / "2.csv").write_bytes(csv_bytes(ROWS, ("caption", "legend")))
    with pytest.raises(InputError, match=r"2\.csv: no url column .* are caption, legend"):
        listing(str(tmp_path))
