"""Reads CSV, TSV, JSON lines and Parquet into batches of rows, including the invalid rows."""

from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ingest import bounds
from pipeline.ingest.bounds import LongLine, check_columns, lines_of
from pipeline.ingest.delimited import LONGEST, read_header, read_rows
from pipeline.ingest.dialect import header_names
from pipeline.ingest.documents import read_document
from pipeline.ingest.embedded import path_column, plain_schema
from pipeline.ingest.folders import read_folder
from pipeline.ingest.names import YFCC, YFCC_QUOTED
from pipeline.ingest.raw import OWN, ByKey, Raw
from pipeline.ingest.samples import ADDRESS, FIRST, Sample, parse_object
from pipeline.ingest.source import BOM, Source, reading
from pipeline.ingest.tables import as_bytes, check_table, read_columns
from pipeline.ingest.tars import read_tar
from pipeline.ingest.types import NUMBERS, json_type, kept_type
from pipeline.table.stored import INTERNAL, InTable
from pipeline.words.errors import InputError
from pipeline.words.heartbeat import beat

T = TypeVar("T")
BATCH = 10_000
_LINES_TRIED = 100
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def check_source(source: Source) -> None:
    """InputError before any work for a file that is not what its name says."""
    if source.format == "imagefolder":
        return
    with reading(source):
        if source.format == "webdataset":
            if source.compression:
                raise InputError(f"input: {source.url} is compressed; unpack it, keep the .tar")
            next(read_tar(source), None)
            return
        with fsspec.open(source.url, "rb").open() as handle:
            head = handle.read(4)
        is_gzip, named_gzip = head[:2] == b"\x1f\x8b", source.compression == "gzip"
        if source.format == "parquet":
            if head == b"PARE":
                raise InputError(f"input: {source.url} is encrypted; decrypt it first")
            if head != b"PAR1":
                raise InputError(
                    f"input: {source.url} is not Parquet, whatever its name says; check "
                    "`input_format`"
                )
            check_table(source)
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
        lines = islice(lines_of(handle, LONGEST), _LINES_TRIED)
        filled = [line for line in lines if isinstance(line, LongLine) or line.strip()]
    texts = [line for line in filled if not isinstance(line, LongLine)]
    if texts and texts[0].removeprefix(BOM).strip() in (b"[", b"[{"):
        raise InputError(f"input: {source.url} is a JSON array; write one object a line")
    if filled and not any(parse_object(line) for line in texts):
        raise InputError(
            f"input: no line of {source.url} is a JSON object; check `input_format`, or write one "
            f"object a line, of at most {LONGEST:,} bytes and {bounds.MOST_COLUMNS:,} keys"
        )


def read_batches(source: Source) -> Iterator[Raw]:
    """The file's rows in its own columns and those of its folders' names. InputError where the file
    as a whole cannot be read."""
    with reading(source):
        for raw in _READERS[source.format](source):
            beat()
            constant: Any = {name: [value] * raw.rows for name, value in source.partition}
            both: Mapping[str, Sequence[Any]] = ChainMap(cast(Any, raw.columns), constant)
            yield replace(raw, columns=both) if constant else raw


@lru_cache(maxsize=1)
def first_rows(source: Source) -> Raw | None:
    """The first batch that has rows, None without any; several questions about a file in a row
    read it once."""
    return next((raw for raw in read_batches(source) if raw.rows), None)


def read_schema(source: Source) -> dict[str, pa.DataType]:
    """The file's columns: Parquet's own types; in CSV and TSV numbers by name, the rest text.

    The columns of JSON are the keys of the first 10,000 rows, of samples in tars and folders those
    of the first 100, and their types those of the values there; null where there are none.
    """
    with reading(source):
        if source.format == "parquet":
            with source.open() as handle:
                schema = pq.read_schema(handle)
            fields = list(plain_schema(schema, source))
            if path := path_column(schema, source.picture):
                fields.append(pa.field(path[1], pa.string()))
            kinds = [(field.name, kept_type(_plain(field.type))) for field in fields]
        elif source.format in _BY_VALUES:
            head = next(_BY_VALUES[source.format](source), None)
            if head is None:
                return {}  # a tar without samples, too
            check_columns(source.url, head.columns)
            kinds = [(name, json_type(cells)) for name, cells in head.columns.items()]
            kinds = [(name, pa.float64() if name in NUMBERS else kind) for name, kind in kinds]
        else:
            names = _header(source)
            kinds = [(name, pa.float64() if name in NUMBERS else pa.string()) for name in names]
    _check_names(source, [name for name, _ in kinds])
    own = OWN if source.holds_pictures else ()
    if not kinds and not own:
        return {}
    given = dict.fromkeys((name for name, _ in source.partition), pa.string())
    return {**given, **dict(kinds), **dict.fromkeys(own, pa.string())}


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_names(source: Source, names: list[str]) -> None:
    check_columns(source.url, names)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
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


def _read_lines(source: Source) -> Iterator[Raw]:
    for rows, broken in _batches(_json_lines(source)):
        yield _of_rows(rows, broken)


def _json_lines(source: Source) -> Iterator[tuple[dict[str, Any] | str, int]]:
    """The objects and, as texts, the lines that hold none; and the bytes of each."""
    with source.open() as handle:
        for line in lines_of(handle, LONGEST):
            if isinstance(line, LongLine):
                yield str(line), 0
            elif line.removeprefix(BOM).strip():
                row = parse_object(line)
                text = line.decode(errors="replace").rstrip("\r\n") if row is None else ""
                yield text if row is None else row, len(line)


def _read_document(source: Source) -> Iterator[Raw]:
    for rows, broken in _batches(read_document(source)):
        yield _of_rows(rows, broken)


def _read_samples(source: Source) -> Iterator[Raw]:
    samples = (read_tar if source.format == "webdataset" else read_folder)(source)
    sized = ((one, 0 if isinstance(one, str) else one.size) for one in samples)
    for found, broken in _batches(sized, FIRST):
        yield _of_samples(found, broken)


def _batches(
    found: Iterable[tuple[T | str, int]], most: int | None = None
) -> Iterator[tuple[list[T], list[str]]]:
    """Rows and, as texts, what is broken, in batches of bounded size; `found` gives their bytes,
    too. The first batch has at most `most` of them, if that is given, and others `BATCH`."""
    most = most or BATCH
    rows: list[T] = []
    broken: list[str] = []
    total = 0
    for one, size in found:
        if isinstance(one, str):
            broken.append(one)
        else:
            rows.append(one)
        total += size
        if len(rows) + len(broken) >= most or total >= bounds.AT_ONCE:
            yield rows, broken
            rows, broken, total, most = [], [], 0, BATCH
    if rows or broken:
        yield rows, broken


def _of_samples(found: Sequence[Sample], broken: list[str]) -> Raw:
    own = {INTERNAL: [one.place for one in found], ADDRESS: [one.address for one in found]}
    return replace(_of_rows([one.row for one in found], broken), own=own)


def _of_rows(rows: list[dict[str, Any]], broken: list[str]) -> Raw:
    return Raw(len(rows), ByKey(rows), broken)


def _read_parquet(source: Source) -> Iterator[Raw]:
    first = 0
    with source.open() as handle:
        schema = pq.read_schema(handle)
        names: list[str] | None = None
        path = path_column(schema, source.picture)
        if source.picture:
            names = plain_schema(schema, source).names
            names += [path[0]] if path else []
        for batch, cut in read_columns(source, handle, names, BATCH):
            columns: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
            if path:
                whole = columns.pop(source.picture.rpartition(".")[0])
                columns[path[1]] = as_bytes(whole.field(0))
            own: dict[str, Sequence[str]] = {}
            if source.picture:
                rows = range(first, first + batch.num_rows)
                places = (InTable(source.url, source.picture, i, source.stamp) for i in rows)
                own = {INTERNAL: [*map(str, places)], ADDRESS: [f"{source.url}#{i}" for i in rows]}
            yield Raw(batch.num_rows, columns, [], own, cut)
            first += batch.num_rows


_BY_VALUES: dict[str, Callable[[Source], Iterator[Raw]]] = {
    "jsonl": _read_lines,
    "json": _read_document,
    "webdataset": _read_samples,
    "imagefolder": _read_samples,
}
"""Formats whose columns and their types are found in the first rows, and how these are read."""
_READERS = {**_BY_VALUES, "csv": _read_delimited, "tsv": _read_delimited, "parquet": _read_parquet}
