"""The list before its rows are read: its files, and what each of their columns becomes."""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job
from pipeline.ingest.bounds import MOST_COLUMNS, too_wide
from pipeline.ingest.buckets import ORDER, SHARD
from pipeline.ingest.cells import readable
from pipeline.ingest.dialect import with_dialect
from pipeline.ingest.documents import is_document
from pipeline.ingest.embedded import with_pictures
from pipeline.ingest.listing import find_sources
from pipeline.ingest.names import CAPTION_NAMES, PATH_NAMES, URL_NAMES, find_captions, find_url
from pipeline.ingest.reading import check_source, first_rows, read_batches, read_schema
from pipeline.ingest.rows import as_text
from pipeline.ingest.samples import ADDRESS, TEXT
from pipeline.ingest.source import Source
from pipeline.ingest.types import (
    are_exact,
    are_whole,
    common_type,
    count_fields,
    holds_null,
    is_nested,
)
from pipeline.table.columns import SHARD_COLUMNS
from pipeline.table.freshness import Expected
from pipeline.table.part import digest_of
from pipeline.table.stored import INTERNAL, STORED
from pipeline.words.errors import InputError

VERSION = 2
_ADDED_LATER = {
    "key", "shard", "row", "verdict", "aligned", "file_row_number", "faces_blurred", STORED, ORDER,
    SHARD,
}  # fmt: skip
"""Column names that exports, the SQL view (`file_row_number` is DuckDB's) and the dealing add."""
Pair = tuple[str, str | tuple[str, ...]]
"""The columns of URL and caption, or those of which the first that is not empty is the caption."""


@dataclass(frozen=True)
class Listing:
    """The input before its rows are read: its files and their columns."""

    sources: tuple[Source, ...]
    pairs: tuple[Pair, ...]
    """Per file; files may use different column names."""
    passthrough: dict[str, tuple[str, pa.DataType]]
    """Shard column -> (input column, type)."""

    @property
    def schema(self) -> pa.Schema:
        fields = [(c.name, c.type) for c in SHARD_COLUMNS]
        return pa.schema(fields + [(name, kind) for name, (_, kind) in self.passthrough.items()])

    def expected(self, shard_size: int) -> Expected:
        """What the shards must have been dealt from to be up to date."""
        others = sorted((name, own, str(kind)) for name, (own, kind) in self.passthrough.items())
        inputs: dict[str, str] = {}
        for i, (source, pair) in enumerate(zip(self.sources, self.pairs, strict=True)):
            name = source.url if source.url not in inputs else f"{source.url} ({i + 1})"
            dialect: list[Any] = [source.delimiter, source.names, source.partition]
            dialect += [source.picture] if source.picture else []
            own = [i, source.format, source.key, pair]
            inputs[name] = digest_of([*own, dialect] if any(dialect) else own)
        return Expected(digest_of([VERSION, shard_size, others]), inputs)

    def head(self, name: str) -> list[Any]:
        """The first rows' values in a column of the input, as they were read (text as bytes)."""
        for raw in (raw for source in self.sources for raw in read_batches(source)):
            if raw.rows and name in raw.columns:
                return readable(raw.columns[name])
        return []


def find_listing(job: Job, taken: frozenset[str]) -> Listing:
    """Find the files and columns; InputError before any work if they cannot be used.

    `taken` are the column names that stages write: an input column with such a name, in any case
    (SQL ignores case), is kept as `input_<name>`.
    """
    sources, schemas = [], []
    first_rows.cache_clear()  # a store may not say that a file has changed
    for source in find_sources(job):
        check_source(source)
        if source.format == "json" and job.input_format == "auto" and not is_document(source):
            source = replace(source, format="jsonl")
            check_source(source)
        source = with_pictures(with_dialect(source, job), job.columns.image)
        schema = read_schema(source)
        if schema or _has_rows(source):  # an empty file has no columns, and is skipped
            sources.append(source)
            schemas.append(schema)
    names = ", ".join(job.inputs())
    if not sources:
        raise InputError(f"input: {names or 'the list'} is empty; name a file with rows")
    pairs = tuple(
        _pair(job, schema, source) for source, schema in zip(sources, schemas, strict=True)
    )
    others = _others(job, sources, schemas, pairs)
    count = sum(map(count_fields, others.values()))
    if count > MOST_COLUMNS:
        raise too_wide(names, f"{count:,}")
    passthrough: dict[str, tuple[str, pa.DataType]] = {}
    used = {name.casefold() for name in taken | {c.name for c in SHARD_COLUMNS} | _ADDED_LATER}
    if others.pop(INTERNAL, None) is not None:
        passthrough[STORED] = (INTERNAL, pa.string())
    for name, kind in others.items():
        free = name or _name_by_position(schemas)
        while free.casefold() in used:
            free = f"input_{free}"
        used.add(free.casefold())
        passthrough[free] = (name, kind)
    if not any(_has_rows(source) for source in sources):
        raise InputError(f"input: {names} has no rows; name a file with rows")
    return Listing(tuple(sources), pairs, passthrough)


def _pair(job: Job, schema: Mapping[str, pa.DataType], source: Source) -> Pair:
    place = f"input: {source.url}"
    names = [name for name in schema if name not in (INTERNAL, ADDRESS)]
    if not names and source.is_of_samples:
        raise InputError(
            f"{place}: none of the first pictures has a caption that can be read; write that of "
            "`1.jpg` beside it, to `1.txt` or as `caption` to `1.json`"
        )
    captions = _captions_beside(job, names, source) or find_captions(
        names, job.columns.captions, place
    )
    caption = captions[0] if len(captions) == 1 else captions
    if source.holds_pictures and job.columns.url is None:
        web = [name for name in URL_NAMES if name in names and name not in PATH_NAMES]
        return next(filter(partial(_is_filled, source), web), ADDRESS), caption
    url = find_url(names, job.columns.url, place)
    if job.columns.url is None:
        url = next(filter(partial(_is_filled, source), _urls(schema)), url)
    return url, caption


def _captions_beside(job: Job, names: Sequence[str], source: Source) -> tuple[str, ...]:
    """The captions of samples whose pictures have a `.txt` beside them.

    The JSON's caption is mostly the same text, and then no column of its own.
    """
    if not source.is_of_samples or job.columns.captions is not None or TEXT not in names:
        return ()
    first = _first_cells(source, TEXT)
    same = [name for name in CAPTION_NAMES if name in names and _alike(source, name, first)]
    return (TEXT, *same)


def _alike(source: Source, name: str, texts: Sequence[Any]) -> bool:
    """Whether a column holds these texts, in the first rows."""
    own = _first_cells(source, name)
    return all(
        one is None or other is None or as_text(one)[0] == as_text(other)[0]
        for one, other in zip(texts, own, strict=True)
    )


def _urls(schema: Mapping[str, pa.DataType]) -> list[str]:
    """The usual columns of URLs, if there are several of which the first might be empty."""
    found = [name for name in URL_NAMES if name in schema]
    return found if len(found) > 1 else []


def _is_filled(source: Source, name: str) -> bool:
    """Whether the first rows have anything in a column."""
    cells = _first_cells(source, name)
    return any(cell.strip() if isinstance(cell, str | bytes) else cell for cell in cells)


def _others(
    job: Job,
    sources: Sequence[Source],
    schemas: Sequence[dict[str, pa.DataType]],
    pairs: Sequence[Pair],
) -> dict[str, pa.DataType]:
    """The files' other columns, each in a type that holds every file's values."""
    others: dict[str, pa.DataType] = {}
    unclear: list[str] = []
    for source, schema, (url, caption) in zip(sources, schemas, pairs, strict=True):
        taken = {url, ADDRESS, caption}
        found = source.is_of_samples and job.columns.captions is None
        if found and isinstance(caption, tuple) and TEXT in caption:
            taken |= {*caption}  # `_captions_beside` has found them alike
        for name, kind in schema.items():
            if name in taken or name in unclear:
                continue
            common = common_type(others.get(name, kind), kind)
            if common is None:
                unclear.append(name)
            else:
                others[name] = common
    for name in unclear:
        others[name] = _by_values(name, sources, schemas)
    # A column of nulls or of empty lists alone could hold anything later, as text.
    return {n: pa.string() if holds_null(kind) else kind for n, kind in others.items()}


def _name_by_position(schemas: list[dict[str, pa.DataType]]) -> str:
    """A name for the column without one, by its position, because SQL cannot use an empty name."""
    return next(f"column_{[*schema].index('') + 1}" for schema in schemas if "" in schema)


def _by_values(
    name: str, sources: Sequence[Source], schemas: Sequence[Mapping[str, pa.DataType]]
) -> pa.DataType:
    """The type of a column whose types in the files have no common one.

    Of int64 in some files and double in others, as pandas writes a column that has nulls in some:
    int64 if all doubles are whole, else double if that holds every int64. By the first rows of each
    file; a later cell that does not fit is a row with a reason. InputError, naming two files, if no
    type holds all.
    """
    typed = [
        (source, schema[name])
        for source, schema in zip(sources, schemas, strict=True)
        if not pa.types.is_null(schema.get(name, pa.null()))
    ]
    (first, kind) = typed[0]
    if any(is_nested(other) for _, other in typed):
        source, other = next(one for one in typed if one[1] != kind)
        raise InputError(
            f"input: the column `{name}` is {kind} in {first.url} and {other} in {source.url}; "
            "write it alike in both, or rename one"
        )
    if not all(pa.types.is_integer(k) or pa.types.is_floating(k) for _, k in typed):
        return pa.string()
    heads = [(source, kind, _first_numbers(source, name)) for source, kind in typed]
    fractions = [s for s, kind, head in heads if pa.types.is_floating(kind) and not are_whole(head)]
    if not fractions:
        whole = [kind for _, kind, _ in heads if pa.types.is_integer(kind)]
        return functools.reduce(lambda a, b: common_type(a, b) or a, whole, pa.int64())
    rounded = [s for s, kind, head in heads if pa.types.is_integer(kind) and not are_exact(head)]
    if not rounded:
        return pa.float64()
    raise InputError(
        f"input: the column `{name}` has whole numbers in {rounded[0].url} that would be rounded "
        f"beside the fractions in {fractions[0].url}; write it in both as text, or rename one"
    )


def _first_cells(source: Source, name: str) -> list[Any]:
    """The first rows' cells in a column of one file."""
    raw = first_rows(source)
    return readable(raw.columns.get(name, [])) if raw is not None else []


def _first_numbers(source: Source, name: str) -> list[Any]:
    found = []
    for value in _first_cells(source, name):
        with contextlib.suppress(TypeError, ValueError):
            number = value if isinstance(value, int | float) else float(value)
            found += [number] if number == number else []
    return found


def _has_rows(source: Source) -> bool:
    return first_rows(source) is not None or any(raw.broken for raw in read_batches(source))
