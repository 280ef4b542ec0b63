"""Reads CSV, TSV, JSON lines and Parquet into batches of rows, including the invalid rows."""

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ingest.delimited import BLOCK, read_header, read_rows
from pipeline.ingest.dialect import header_names
from pipeline.ingest.documents import read_document
from pipeline.ingest.listing import BOM, Source, first_line
from pipeline.ingest.names import YFCC, YFCC_QUOTED
from pipeline.ingest.types import NUMBERS, json_type, kept_type
from pipeline.words.errors import InputError

BATCH = 10_000
_LINES_TRIED = 100
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Raw:
    """Rows as read: values by column (Arrow arrays from Parquet, texts as bytes), and the lines
    that could not be parsed."""

    rows: int
    columns: dict[str, Sequence[Any]]
    broken: list[str]


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[None]:
    """InputError, naming the file, for the readers' errors on a broken file or another format."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"input: {source.url} cannot be read: {first_line(error)}; is the file whole?"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"input: {source.url} is not UTF-8: {first_line(error)}") from error


def check_source(source: Source) -> None:
    """InputError before any work for a file that is not what its name says."""
    with _readable(source):
        with fsspec.open(source.url, "rb").open() as handle:
            head = handle.read(4)
        is_gzip, named_gzip = head[:2] == b"\x1f\x8b", source.compression == "gzip"
        if source.format == "parquet":
            if head != b"PAR1":
                raise InputError(
                    f"input: {source.url} is not Parquet, whatever its name says; check "
                    "`input_format`"
                )
            return
        if is_gzip != named_gzip:
            says = "not gzip: remove .gz from its name" if named_gzip else "gzip; name it .gz"
            raise InputError(f"input: {source.url} is {says}")
        with source.open() as handle:
            _check_text(source, handle.read(1 << 16))
        if source.format == "jsonl":
            _check_lines(source)


def _check_text(source: Source, head: bytes) -> None:
    kind = source.format.upper()
    if head.startswith(_UTF16):
        raise InputError(f"input: {source.url} is UTF-16; save it as UTF-8")
    if head[:4] == b"PAR1" or b"\0" in head:
        raise InputError(f"input: {source.url} is binary, not {kind}; check `input_format`")


def _check_lines(source: Source) -> None:
    with source.open() as handle:
        lines = (handle.readline(BLOCK) for _ in range(_LINES_TRIED))
        filled = [line for line in lines if line.strip()]
    if filled and filled[0].removeprefix(BOM).strip() in (b"[", b"[{"):
        raise InputError(f"input: {source.url} is a JSON array; write one object a line")
    if filled and not any(_parse_line(line) for line in filled):
        raise InputError(
            f"input: no line of {source.url} is a JSON object; check `input_format`, or write one "
            "object a line"
        )


def read_batches(source: Source) -> Iterator[Raw]:
    """The file's rows in its own columns and those of its folders' names. InputError where the file
    as a whole cannot be read."""
    readers: dict[str, Callable[[Source], Iterator[Raw]]] = {
        "csv": _read_delimited,
        "tsv": _read_delimited,
        "jsonl": _read_lines,
        "json": _read_document,
        "parquet": _read_parquet,
    }
    with _readable(source):
        for raw in readers[source.format](source):
            constant = {name: [value] * raw.rows for name, value in source.partition}
            yield replace(raw, columns={**constant, **raw.columns}) if constant else raw


def read_schema(source: Source) -> dict[str, pa.DataType]:
    """The file's columns: Parquet's own types; in CSV and TSV numbers by name, the rest text.

    The columns of JSON are the keys of the first 10,000 rows, and their types those of the values
    there; null where there are none.
    """
    with _readable(source):
        if source.format == "parquet":
            with source.open() as handle:
                fields = list(pq.read_schema(handle))
            kinds = [(field.name, kept_type(_plain(field.type))) for field in fields]
        elif source.format in ("jsonl", "json"):
            read = _read_lines if source.format == "jsonl" else _read_document
            head = next(read(source), Raw(0, {}, []))
            kinds = [(name, json_type(cells)) for name, cells in head.columns.items()]
            kinds = [(name, pa.float64() if name in NUMBERS else kind) for name, kind in kinds]
        else:
            names = _header(source)
            kinds = [(name, pa.float64() if name in NUMBERS else pa.string()) for name in names]
    _check_names(source, [name for name, _ in kinds])
    if not kinds:
        return {}
    return {**dict.fromkeys((name for name, _ in source.partition), pa.string()), **dict(kinds)}


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_names(source: Source, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"input: {source.url} has two columns named `{repeated[0]}`; rename one")
    for name in names:
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"input: {source.url}: the column name {name!a} is no text")


def _header(source: Source) -> list[str]:
    return list(source.names) if source.names is not None else header_names(read_header(source))


def _read_delimited(source: Source) -> Iterator[Raw]:
    names = _header(source)
    for rows in read_rows(source, len(names)):
        columns = dict(zip(names, rows.columns, strict=True))
        if source.names and set(YFCC) <= set(names):
            columns |= {name: list(map(_unquoted, columns[name])) for name in YFCC_QUOTED}
        broken = [line.decode(errors="replace") for line in rows.broken]
        yield Raw(len(rows.columns[0]), columns, broken)


def _unquoted(cell: bytes | None) -> bytes | None:
    return None if cell is None else unquote_to_bytes(cell.replace(b"+", b" "))


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """A JSON object, with invalid UTF-8 bytes as lone surrogates; None if it is not an object."""
    try:
        value = json.loads(line.removeprefix(BOM).decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_lines(source: Source) -> Iterator[Raw]:
    rows: list[dict[str, Any]] = []
    broken: list[str] = []

    with source.open() as handle:
        for line in handle:
            if not line.removeprefix(BOM).strip():
                continue
            row = _parse_line(line)
            if row is None:
                broken.append(line.decode(errors="replace").rstrip("\r\n"))
            else:
                rows.append(row)
            if len(rows) + len(broken) >= BATCH:
                yield _of_rows(rows, broken)
                rows, broken = [], []
    if rows or broken:
        yield _of_rows(rows, broken)


def _read_document(source: Source) -> Iterator[Raw]:
    rows = read_document(source)
    while batch := list(islice(rows, BATCH)):
        yield _of_rows(batch, [])


def _of_rows(rows: list[dict[str, Any]], broken: list[str]) -> Raw:
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in rows] for name in names}
    return Raw(len(rows), columns, broken)


def _read_parquet(source: Source) -> Iterator[Raw]:
    with source.open() as handle:
        for batch in pq.ParquetFile(handle).iter_batches(batch_size=BATCH):
            columns = dict(zip(batch.schema.names, map(_undecoded, batch.columns), strict=True))
            yield Raw(batch.num_rows, columns, [])


def _undecoded(column: pa.Array) -> pa.Array:
    """Text as bytes: Parquet does not check UTF-8, and a bad cell must affect only its row."""
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_string(kind) or types.is_string_view(kind):
        return column.cast(pa.binary())
    return column.cast(pa.large_binary()) if types.is_large_string(kind) else column
