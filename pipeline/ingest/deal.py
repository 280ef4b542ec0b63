"""Deals the list into shards: repeated rows are merged, and shards that are up to date stay.

Rows are written to buckets on disk by uid prefix, then each bucket is merged separately, so that
memory holds one bucket and never the whole list. The rows of a deal are in uid order, which also
mixes the hosts. Rows added to the input later go to new shards; if a row was removed from the
input, or the shard size changed, all rows are dealt anew.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.ingest.buckets import (
    ORDER,
    SHARD,
    Buckets,
    Changes,
    Dealer,
    apply,
    merge,
    note_changes,
    shard_digest,
)
from pipeline.ingest.dialect import with_dialect
from pipeline.ingest.documents import is_document
from pipeline.ingest.listing import Source, find_sources
from pipeline.ingest.names import find_captions, find_url
from pipeline.ingest.reading import check_source, read_batches, read_schema
from pipeline.ingest.rows import forgotten, to_table
from pipeline.table.columns import SHARD_COLUMNS
from pipeline.table.freshness import Expected, changed_inputs, why_stale
from pipeline.table.part import digest_of, peak_memory, shard_name
from pipeline.table.run import Run, ShardIndex
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import InputError

VERSION = 2
_SMALL = 256 << 20
"""Bytes of input below which few buckets are used."""
_ADDED_LATER = {"key", "shard", "row", "verdict", "aligned", "file_row_number", ORDER, SHARD}
"""Column names that exports, the SQL view (`file_row_number` is DuckDB's) and the dealing add."""


@dataclass(frozen=True)
class Listing:
    """The input before its rows are read: its files and their columns."""

    sources: tuple[Source, ...]
    pairs: tuple[tuple[str, str | tuple[str, ...]], ...]
    """Per file: the columns of URL and caption, or those of which the first that is not empty is
    the caption. Files may use different column names."""
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
            dialect = [source.delimiter, source.names, source.partition]
            own = [i, source.format, source.key, pair]
            inputs[name] = digest_of([*own, dialect] if any(dialect) else own)
        return Expected(digest_of([VERSION, shard_size, others]), inputs)

    def head(self, name: str) -> list[Any]:
        """The first rows' values in a column of the input, as they were read (text as bytes)."""
        for raw in (raw for source in self.sources for raw in read_batches(source)):
            if raw.rows and name in raw.columns:
                values = raw.columns[name]
                return values.to_pylist() if isinstance(values, pa.Array) else list(values)
        return []


def find_listing(job: Job, taken: frozenset[str]) -> Listing:
    """Find the files and columns; InputError before any work if they cannot be used.

    `taken` are the column names that stages write: an input column with such a name, in any case
    (SQL ignores case), is kept as `input_<name>`.
    """
    sources, schemas = [], []
    for source in find_sources(job):
        check_source(source)
        if source.format == "json" and job.input_format == "auto" and not is_document(source):
            source = replace(source, format="jsonl")
            check_source(source)
        source = with_dialect(source, job)
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
    others = _others(schemas, pairs)
    passthrough: dict[str, tuple[str, pa.DataType]] = {}
    used = {name.casefold() for name in taken | {c.name for c in SHARD_COLUMNS} | _ADDED_LATER}
    for name, kind in others.items():
        free = name or _name_by_position(schemas)
        while free.casefold() in used:
            free = f"input_{free}"
        used.add(free.casefold())
        passthrough[free] = (name, kind)
    if not any(_has_rows(source) for source in sources):
        raise InputError(f"input: {names} has no rows; name a file with rows")
    return Listing(tuple(sources), pairs, passthrough)


def _pair(
    job: Job, schema: Mapping[str, pa.DataType], source: Source
) -> tuple[str, str | tuple[str, ...]]:
    place = f"input: {source.url}"
    captions = find_captions(schema, job.columns.captions, place)
    return find_url(schema, job.columns.url, place), (
        captions[0] if len(captions) == 1 else captions
    )


def _others(
    schemas: list[dict[str, pa.DataType]], pairs: tuple[tuple[str, str | tuple[str, ...]], ...]
) -> dict[str, pa.DataType]:
    """The files' other columns, each in a type that holds every file's values."""
    others: dict[str, pa.DataType] = {}
    for schema, pair in zip(schemas, pairs, strict=True):
        for name, kind in schema.items():
            if name not in pair:
                others[name] = _common(others.get(name, kind), kind)
    return others


def _name_by_position(schemas: list[dict[str, pa.DataType]]) -> str:
    """A name for the column without one, by its position, because SQL cannot use an empty name."""
    return next(f"column_{[*schema].index('') + 1}" for schema in schemas if "" in schema)


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if a == b:
        return a
    integer = pa.types.is_integer
    if integer(a) and integer(b) and pa.uint64() not in (a, b):
        return pa.int64()
    if all(integer(kind) or pa.types.is_floating(kind) for kind in (a, b)):
        return pa.float64()
    return pa.string()


def _has_rows(source: Source) -> bool:
    return any(raw.rows or raw.broken for raw in read_batches(source))


def deal(run: Run, job: Job, listing: Listing, progress: Callable[[int], None]) -> ShardIndex:
    """Read the list and bring the shards up to date; `progress` gets the number of rows read."""
    start = time.monotonic()
    with _scratch(run) as scratch:
        small = sum(source.size for source in listing.sources) < _SMALL
        buckets = Buckets(Path(scratch), listing.schema, 8 if small else 256)
        rows_in = _fill_buckets(listing, buckets, Tombstones.read(run.folder), progress)
        existing = _reusable_index(run, job, listing)
        kept: list[tuple[int, str]] = []
        for shard in range(len(existing.shards) if existing else 0):
            table = run.shard(shard)
            # The digest of the file itself, because a killed deal may have left an older index.
            kept.append((table.num_rows, shard_digest(table)))
            buckets.add("old", table, 0, shard=shard)
        buckets.close()
        if existing is None or not buckets.keeps_all():
            # Removed first, so that shards which a kill leaves unfinished are not taken for whole.
            run.folder.remove("shards/index.json")
            run.folder.remove("shards")
            existing, kept = None, []
        if existing is not None:
            # Without inputs, so that the index of a deal killed from here on counts as stale.
            run.folder.write("shards/index.json", replace(existing, inputs={}).encode())
        shards = _deal(run, job, listing, buckets, kept)
    expected = listing.expected(job.shard_size)
    index = ShardIndex(
        expected.fingerprint, dict(expected.inputs), rows_in, tuple(shards),
        {name: source for name, (source, _) in listing.passthrough.items()},
        {"shard_size": job.shard_size, "schema": str(listing.schema)},
        round(time.monotonic() - start, 3), round(peak_memory(), 1),
    )  # fmt: skip
    run.folder.write("shards/index.json", index.encode())
    return index


def _scratch(run: Run) -> "tempfile.TemporaryDirectory[str]":
    """A folder beside the shards, where there is space for the list; /tmp is often in memory."""
    if not run.folder.is_local:
        return tempfile.TemporaryDirectory(prefix="winnow-ingest-")
    Path(run.folder.path()).mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="ingest-", suffix=".tmp", dir=run.folder.path())


def _fill_buckets(
    listing: Listing, buckets: Buckets, tombstones: Tombstones, progress: Callable[[int], None]
) -> int:
    """Write every row to its bucket, taken-down rows without content; the number of rows read."""
    rows_in = 0
    for source, (url, caption) in zip(listing.sources, listing.pairs, strict=True):
        for raw in read_batches(source):
            table = to_table(raw, url, caption, listing.passthrough, listing.schema)
            table = forgotten(table, tombstones.mask(table["uid"], table["url"]))
            buckets.add("new", table, rows_in)
            rows_in += table.num_rows
            progress(rows_in)
    return rows_in


def _deal(
    run: Run, job: Job, listing: Listing, buckets: Buckets, kept: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """Merge each bucket; new rows go to new shards, changed rows stay at their place."""
    changes: Changes = {}
    dealer = Dealer(run, job.shard_size, list(kept), listing.schema)
    for bucket in range(buckets.count):
        merged = merge(buckets.table("new", bucket))
        if kept:
            old = buckets.table("old", bucket)
            note_changes(merged, old, changes)
            fresh = pc.invert(pc.is_in(merged["uid"], value_set=old["uid"].combine_chunks()))
            merged = merged.filter(fresh)
        dealer.add(merged)
    dealer.flush()
    apply(run, changes, dealer.shards)
    return dealer.shards


def why_not_current(run: Run, job: Job, listing: Listing) -> str | None:
    """None if the shards were dealt from this list with this shard size; else why not."""
    index = run.index
    if index is None:
        return "the input has not been read yet"
    expected = listing.expected(job.shard_size)
    if why_stale(index, expected) is not None:
        changed = [name.rsplit("/", 1)[-1] for name in changed_inputs(index, expected)]
        shown = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        return (
            f"the input changed: {shown}" if changed else "the input is dealt with other settings"
        )
    names = (f"shards/{shard_name(shard)}.parquet" for shard in range(len(index)))
    missing = [name for name in names if not run.folder.exists(name)]
    return f"{missing[0]} is missing" if missing else None


def _reusable_index(run: Run, job: Job, listing: Listing) -> ShardIndex | None:
    """The index if its shards can stay: dealt with this size and these columns, and complete."""
    index = run.index
    if index is None or index.recipe != {
        "shard_size": job.shard_size,
        "schema": str(listing.schema),
    }:
        return None
    for shard, (rows, _) in enumerate(index.shards):
        try:
            if run.shard(shard, ["uid"]).num_rows != rows:
                return None
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
    return index
