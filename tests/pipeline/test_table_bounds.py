"""Hostile tables, tars and folders end in one line, and no list takes more memory than it may."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists import listing, read, read_bytes, seen

from pipeline.ingest import bounds, tables
from pipeline.ingest.rows import MAX_CAPTION
from pipeline.words.errors import InputError

A, B = "http://a.example/1.jpg", "http://a.example/2.jpg"
GOOD = [(A, "a cat", None), (B, "a dog", None)]
MIB = 1 << 20


def repeated(word: str | bytes, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([word]))


def table(path: Path, **columns) -> str:
    pq.write_table(pa.table(columns), path, compression="zstd", write_statistics=False,
                   store_schema=False)  # fmt: skip
    return str(path)


def test_a_cell_of_100_mb_in_parquet_is_a_row_with_a_reason(tmp_path: Path):
    long = "é" * (50 * MIB)
    path = table(tmp_path / "x.parquet", url=[A, B, B], caption=["a cat", "a dog", long])
    found = read(listing(path))
    assert seen(found[:2]) == GOOD
    assert found[2]["input_error"] == "caption_oversize"
    assert found[2]["caption"] == "é" * MAX_CAPTION
    path = table(tmp_path / "y.parquet", url=[A, long], caption=["a cat", "c"], z=["z", long])
    found = read(listing(path))
    assert [(row["z"], row["input_error"]) for row in found] == [
        ("z", None), (None, "cell_invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["caption", "z", "lists", "list_of_captions"])
def test_a_dictionary_that_stands_for_gigabytes_is_refused(tmp_path: Path, monkeypatch, column):
    monkeypatch.setattr(bounds, "UNPACKED", 64 * MIB)
    words = repeated("x" * 500_000, 20_000)  # 10 GB
    columns = {"url": ["u"] * 20_000, "caption": ["c"] * 20_000, "z": words}
    if column == "caption":
        columns = {"url": ["u"] * 20_000, "caption": words}
    if column.startswith("list"):
        rows = pa.ListArray.from_arrays(pa.array(np.arange(20_001), pa.int32()), words)
        columns["z" if column == "lists" else "caption"] = rows
        columns = {**columns, **({} if column == "lists" else {"z": ["z"] * 20_000})}
    path = table(tmp_path / "x.parquet", **columns)
    with pytest.raises(InputError, match=r"x\.parquet: it unpacks to more than 67,108,864 bytes"):
        read(listing(path))


def test_a_small_dictionary_of_long_words_is_read(tmp_path: Path):
    path = table(tmp_path / "x.parquet", url=["u"] * 100, caption=repeated("x" * 200_000, 100))
    found = read(listing(path))
    assert [row["input_error"] for row in found] == ["caption_oversize"] * 100


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"z": [[0] * 17_000_000]}, r"row group 0 claims 17,000,000 values of `z\.list\.element`"),
        ({f"c{i}": [1] for i in range(5_000)}, "has 5,002 columns"),
        ({"z": pa.array([b"x" * (17 * MIB)], pa.binary(17 * MIB))}, "cells of 17,825,792 bytes"),
    ],
    ids=["values", "columns", "wide cells"],
)  # fmt: skip
def test_parquet_that_claims_too_much_is_refused(tmp_path: Path, columns, words):
    path = table(tmp_path / "x.parquet", url=["u"], caption=["c"], **columns)
    with pytest.raises(InputError, match=words):
        read(listing(path))


def test_a_row_group_that_unpacks_too_far_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(bounds, "UNPACKED", MIB)
    path = table(tmp_path / "x.parquet", url=["u"], caption=["c" * 20 * MIB])
    with pytest.raises(InputError, match="row group 0 unpacks to more than 1,048,576 bytes, of"):
        listing(path)


def test_more_rows_than_bytes_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tables, "_VALUES", 1_000)
    monkeypatch.setattr(bounds, "RATIO", 1)
    path = table(tmp_path / "x.parquet", url=["u"] * 100_000, caption=["c"] * 100_000)
    with pytest.raises(InputError, match="claims 100,000 rows in"):
        listing(path)


def test_an_encrypted_table_is_named(tmp_path: Path):
    path = table(tmp_path / "x.parquet", url=["u"], caption=["c"])
    data = Path(path).read_bytes()
    for changed in (b"PARE" + data[4:-4] + b"PARE", data[:-4] + b"PARE"):
        with pytest.raises(InputError, match=r"x\.parquet is encrypted; decrypt it first"):
            read_bytes(tmp_path, "x.parquet", changed)


@pytest.mark.parametrize("depth", [60, 90, 300])
def test_deep_columns_of_parquet_are_text_or_refused(tmp_path: Path, depth: int):
    kind = pa.int8()
    for _ in range(depth):
        kind = pa.struct([("a", kind)])
    path = table(tmp_path / "x.parquet", url=[A], caption=["a cat"], z=pa.array([None], kind))
    if depth < 100:
        found = listing(path)
        assert found.passthrough["z"][1] == pa.string()
        assert seen(read(found)) == GOOD[:1]
    else:
        with pytest.raises(InputError, match=r"x\.parquet cannot be read.*too deeply nested"):
            listing(path)


@pytest.mark.parametrize("packed", ["gz", "zst", "bz2", "xz"])
def test_a_file_that_unpacks_too_far_is_refused(tmp_path: Path, monkeypatch, packed: str):
    monkeypatch.setattr(bounds, "UNPACKED", MIB)
    monkeypatch.setattr(bounds, "RATIO", 2)
    kind = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}.get(packed)
    path = tmp_path / f"x.csv.{packed}"
    data = b"url,caption\n" + f"{A},a cat\n".encode() * 200_000
    if kind is None:
        import lzma

        path.write_bytes(lzma.compress(data))
    else:
        with pa.OSFile(str(path), "wb") as out, pa.CompressedOutputStream(out, kind) as stream:
            stream.write(data)
    with pytest.raises(InputError, match="unpacks to more than 1,048,576 bytes, of "):
        read(listing(str(path)))


def tar_of(path: Path, *members: tuple[str, bytes, dict]) -> str:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, headers in members:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), headers
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def test_a_tar_with_a_huge_header_is_refused(tmp_path: Path):
    path = tar_of(tmp_path / "x.tar", ("1.jpg", b"x", {}), ("1.txt", b"a cat", {}),
                  ("2.jpg", b"x", {"comment": "x" * 2_000_000}))  # fmt: skip
    with pytest.raises(InputError, match=r"x\.tar is no whole tar: the header at byte 2,048"):
        read(listing(path))


def test_a_tar_of_headers_alone_is_refused(tmp_path: Path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    (tmp_path / "x.tar").write_bytes(header.tobuf() * 20_000)
    with pytest.raises(InputError, match=r"x\.tar is no whole tar"):
        read(listing(str(tmp_path / "x.tar")))


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "nothing"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str):
    (tmp_path / "a.csv").write_bytes(b"url,caption\nu,c\n")
    odd = tmp_path / "b.csv"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"device": "/dev/zero", "loop": "b.csv", "nothing": "c.csv"}[kind])
    with pytest.raises(InputError, match=r"b\.csv (is a pipe, |cannot be read)"):
        listing(str(tmp_path))


READ = """
import re, resource, sys
from lists import listing, read
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    found = read(listing(sys.argv[1]))
    print(len(found), sum(row["input_error"] is None for row in found))
except Exception as error:
    print(type(error).__name__)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def huge_line(path: Path, kind: str) -> Path:
    mark = {"csv": b",", "tsv": b"\t"}.get(kind)
    rows = [b'{"url": "u", "caption": "c"}'] * 2
    if mark is not None:
        rows = [b"url" + mark + b"caption\nu" + mark + b"c", b"u" + mark + b"d"]
    start, between, end = (b"[", b",\n", b"]") if kind == "json" else (b"", b"\n", b"")
    with path.open("wb") as out:
        out.write(start + rows[0] + between)
        for _ in range(200):
            out.write(b"x" * MIB)
        out.write(between + rows[1] + end)
    return path


def bomb(path: Path) -> Path:
    with gzip.open(path, "wb", 9) as out:
        for block in (b"url,caption\nu,c\n", *[b"x" * MIB] * 1_200):
            out.write(block)
    return path


HUGE = {
    "csv": (lambda f: huge_line(f / "x.csv", "csv"), "3 2"),
    "tsv": (lambda f: huge_line(f / "x.tsv", "tsv"), "3 2"),
    "jsonl": (lambda f: huge_line(f / "x.jsonl", "jsonl"), "3 2"),
    "json": (lambda f: huge_line(f / "x.json", "json"), "3 2"),
    "gz": (lambda f: bomb(f / "x.csv.gz"), "InputError"),
    "dictionary": (
        lambda f: table(f / "x.parquet", url=["u"] * 10**6, caption=repeated("x" * 524_288, 10**6)),
        "InputError",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", HUGE)
def test_memory_is_bounded_whatever_the_list_says(tmp_path: Path, case: str):
    build, expected = HUGE[case]
    path = str(build(tmp_path))
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": here}, check=True,
    )  # fmt: skip
    counts, peak = done.stdout.splitlines()
    assert counts == expected
    assert int(peak) < 1_500
