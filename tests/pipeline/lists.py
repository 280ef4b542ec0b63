"""Lists in every format, and their rows as in the sample table."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.load import parse_job
from pipeline.ingest.deal import Listing, find_listing
from pipeline.ingest.reading import read_batches
from pipeline.ingest.rows import to_table

ROWS = [
    ("https://a.example/1.jpg", "a kangaroo made of cheese"),
    ("https://a.example/2.jpg", 'a "quoted" cat, with a comma'),
    ("https://a.example/3.jpg", '5" of pipe'),
    ("https://a.example/4.jpg", "ein Känguru – 袋鼠 🦘"),
]


def csv_bytes(rows, header=("url", "caption")) -> bytes:
    def cell(value: str | None) -> str:
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    lines = [",".join(header), *(",".join(map(cell, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def tsv_bytes(rows, header=("url", "caption")) -> bytes:
    """Nothing is quoted, because no cell contains a tab or line end."""
    lines = ["\t".join(header), *("\t".join(cell or "" for cell in row) for row in rows)]
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
    "tsv": tsv_bytes,
    "jsonl": jsonl_bytes,
    "parquet": parquet_bytes,
}


def listing(source, **values) -> Listing:
    return find_listing(
        parse_job({"input": source, "name": "x", **values}, "job.yaml"), frozenset()
    )


def read(found: Listing) -> list[dict]:
    """All rows as in the sample table, repeats not merged."""
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
