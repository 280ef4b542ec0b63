"""Reading the list: CSV, TSV, JSON lines and Parquet into batches of rows, bad ones included."""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from pipeline.config.job import Job
from pipeline.errors import InputError

EXTENSIONS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
URL_NAMES = ("url", "URL")
CAPTION_NAMES = ("caption", "text", "TEXT", "alt")
NUMBERS = ("similarity", "punsafe", "pwatermark", "aesthetic", "width", "height", "WIDTH", "HEIGHT")
"""Columns of the field that hold numbers; in text formats every other passthrough column is text."""
MAX_CAPTION = 100_000
BLOCK = 32 << 20
BATCH = 10_000
_BAD_LINES_READ = 100


@dataclass(frozen=True)
class Source:
    """One file of the list."""

    url: str
    format: str
    key: str
    """Changes when the file does."""
    size: int
    """Bytes, as stored."""

    def open(self) -> Any:
        if self.format == "parquet":
            return fsspec.open(self.url, "rb").open()
        return fsspec.open(self.url, "rb", compression="infer").open()


@dataclass(frozen=True)
class Raw:
    """Rows as read: bytes or values by column, and the rows that are no rows at all."""

    columns: dict[str, Sequence[Any]]
    broken: list[str]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def find_sources(job: Job) -> list[Source]:
    """The list's files in a stable order. InputError for a missing or unnameable one."""
    found: list[Source] = []
    for url in job.inputs():
        fs, path = fsspec.core.url_to_fs(url)
        if fs.exists(path) and not fs.isdir(path):
            paths = [path]
        elif fs.isdir(path):
            paths = [p for p in sorted(fs.find(path)) if _format_of(p) is not None]
            if not paths:
                raise InputError(f"input: no CSV, TSV, JSON lines or Parquet file in {url}")
        elif any(sign in path for sign in "*?["):
            paths = sorted(p for p in fs.glob(path) if not fs.isdir(p))
            if not paths:
                raise InputError(f"input: nothing matches {url}")
        else:
            parent = path.rsplit("/", 1)[0]
            names = (
                [p.rsplit("/", 1)[-1] for p in fs.ls(parent, detail=False)]
                if fs.isdir(parent)
                else []
            )
            near = difflib.get_close_matches(path.rsplit("/", 1)[-1], names, n=1)
            raise InputError(
                f"input: {url} does not exist" + (f"; did you mean {near[0]}?" if near else "")
            )
        for one in paths:
            known = job.input_format if job.input_format != "auto" else _format_of(one)
            if known is None:
                raise InputError(
                    f"input: cannot tell the format of {one} by its name; set `input_format` to csv, "
                    "tsv, jsonl or parquet"
                )
            found.append(Source(fs.unstrip_protocol(one), known, fs.ukey(one), fs.size(one) or 0))
    for source in found:
        _check_magic(source)
    return found


def _format_of(path: str) -> str | None:
    name = path.lower()
    for packed in (".gz", ".gzip"):
        name = name.removesuffix(packed)
    return next((kind for ending, kind in EXTENSIONS.items() if name.endswith(ending)), None)


def _check_magic(source: Source) -> None:
    """A file that is not what its name says ends the job before any work."""
    with fsspec.open(source.url, "rb").open() as handle:
        head = handle.read(4)
    is_gzip, named_gzip = head[:2] == b"\x1f\x8b", source.url.endswith((".gz", ".gzip"))
    if source.format == "parquet":
        if head != b"PAR1":
            raise InputError(f"input: {source.url} is not Parquet, whatever its name says")
        return
    if is_gzip != named_gzip:
        says = "not gzip, whatever its name says" if named_gzip else "gzip; name it .gz"
        raise InputError(f"input: {source.url} is {says}")
    try:
        with source.open() as handle:
            head = handle.read(1 << 16)
    except (OSError, EOFError) as error:
        raise InputError(f"input: {source.url} cannot be read: {error}") from error
    if head[:4] == b"PAR1" or b"\0" in head:
        raise InputError(
            f"input: {source.url} is binary, not {source.format.upper()}; check `input_format`"
        )
    if source.format == "jsonl" and head.strip():
        lines = [line for line in head.split(b"\n")[:_BAD_LINES_READ] if line.strip()]
        if not any(_parse_line(line) for line in lines):
            raise InputError(
                f"input: no line of {source.url} is a JSON object; check `input_format`"
            )


def read_batches(source: Source) -> Iterator[Raw]:
    """The file's rows in its own columns. InputError where the file as a whole cannot be read."""
    readers: dict[str, Callable[[Source], Iterator[Raw]]] = {
        "csv": _read_delimited, "tsv": _read_delimited, "jsonl": _read_lines, "parquet": _read_parquet,
    }  # fmt: skip
    try:
        yield from readers[source.format](source)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise InputError(f"input: {source.url}: {str(error).splitlines()[0]}") from error


def read_schema(source: Source) -> dict[str, pa.DataType]:
    """The file's columns: Parquet's own types; in text formats numbers by name, the rest text.

    JSON lines say their columns by the keys of the first lines.
    """
    if source.format == "parquet":
        with source.open() as handle:
            schema = pq.read_schema(handle)
        return {f.name: pa.string() if _is_text(f.type) else f.type for f in schema}
    if source.format == "jsonl":
        names = list(dict.fromkeys(n for raw in _first(_read_lines(source)) for n in raw.columns))
    else:
        names = _header(source)
    return {name: pa.float64() if name in NUMBERS else pa.string() for name in names}


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind)
        or pa.types.is_dictionary(kind)
    )  # fmt: skip


def _first(batches: Iterator[Raw]) -> list[Raw]:
    return [raw for raw, _ in zip(batches, range(1), strict=False)]


def _header(source: Source) -> list[str]:
    with source.open() as handle:
        line = handle.readline()
    if not line.strip():
        return []
    options = pc.ParseOptions(delimiter="," if source.format == "csv" else "\t")
    return list(pc.read_csv(pa.BufferReader(line), parse_options=options).column_names)


def _read_delimited(source: Source) -> Iterator[Raw]:
    delimiter = "," if source.format == "csv" else "\t"
    broken: list[str] = []

    def note(row: Any) -> str:
        broken.append(str(row.text))
        return "skip"

    names = _header(source)
    if not names:
        return
    with source.open() as handle:
        reader = pc.open_csv(
            handle,
            read_options=pc.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=pc.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pc.ConvertOptions(
                check_utf8=False, column_types={name: pa.binary() for name in names},
                strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""],
            ),
        )  # fmt: skip
        for batch in reader:
            yield Raw({n: batch.column(n).to_pylist() for n in batch.schema.names}, list(broken))
            broken.clear()
    if broken:
        yield Raw({name: () for name in names}, broken)


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """A JSON object, bytes that are not UTF-8 as lone surrogates; None if it is no object."""
    try:
        value = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_lines(source: Source) -> Iterator[Raw]:
    rows: list[dict[str, Any]] = []
    broken: list[str] = []

    def flush() -> Raw:
        names = dict.fromkeys(name for row in rows for name in row)
        raw = Raw({name: [row.get(name) for row in rows] for name in names}, list(broken))
        rows.clear()
        broken.clear()
        return raw

    with source.open() as handle:
        for line in handle:
            if not line.strip():
                continue
            row = _parse_line(line)
            if row is None:
                broken.append(line.decode(errors="replace").rstrip("\n"))
            else:
                rows.append(row)
            if len(rows) + len(broken) >= BATCH:
                yield flush()
    if rows or broken:
        yield flush()


def _read_parquet(source: Source) -> Iterator[Raw]:
    with source.open() as handle:
        for batch in pq.ParquetFile(handle).iter_batches(batch_size=BATCH):
            columns: dict[str, Sequence[Any]] = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                kind = column.type
                if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                    # Parquet does not check UTF-8; as bytes a bad cell is one bad row, not an error.
                    large = pa.types.is_large_string(kind)
                    column = column.view(pa.large_binary() if large else pa.binary())
                    columns[name] = column.to_pylist()
                else:
                    columns[name] = column.to_pylist()
            yield Raw(columns, [])


def as_text(value: Any) -> tuple[str | None, bool]:
    """A cell as text, and whether it was valid; bad bytes and lone surrogates become U+FFFD."""
    if value is None:
        return None, True
    if isinstance(value, bytes):
        try:
            return value.decode(), True
        except UnicodeDecodeError:
            return value.decode(errors="replace"), False
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode(), False
    return text, True


def find_column(names: Iterable[str], wanted: str | None, usual: Sequence[str], what: str) -> str:
    """The column that holds `what`. InputError names those found and the nearest name."""
    names = list(names)
    if wanted is not None:
        if wanted in names:
            return wanted
        near = difflib.get_close_matches(wanted, names, n=1)
    else:
        for name in usual:
            if name in names:
                return name
        lower = {name.lower(): name for name in names}
        near = [
            lower[match]
            for name in usual
            for match in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
        ]
        near += [n for n in names if what in n.lower()]
    hint = f"; is it `{near[0]}`? Then set `columns.{what}: {near[0]}`" if near else ""
    told = wanted or " or ".join(f"`{name}`" for name in usual)
    raise InputError(f"input: no {what} column ({told}); the columns are {', '.join(names)}{hint}")
