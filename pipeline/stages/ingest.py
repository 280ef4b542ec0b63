"""Dealing the list into shards: repeats merged, every row named, standing shards left standing.

Rows are spread over buckets by uid prefix on disk, then each bucket is merged on its own, so
memory holds one bucket, never the list. Within a deal rows lie in uid order, which also mixes the
hosts. Rows added to the input later go to new shards; a row that left the input, or another shard
size, makes a new deal.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.errors import InputError
from pipeline.run import Run, ShardIndex
from pipeline.stages.dealing import Changes, Dealer, Spread, apply, merge, note_changes
from pipeline.stages.listing import (
    CAPTION_NAMES,
    URL_NAMES,
    Raw,
    Source,
    find_column,
    find_sources,
    read_batches,
    read_schema,
)
from pipeline.stages.rows import to_table
from pipeline.table import SHARD_COLUMNS, digest_of, shard_name

VERSION = 1
_SMALL = 256 << 20
"""Bytes of input below which a few buckets do."""


@dataclass(frozen=True)
class Listing:
    """The input, looked at but not read: its files, its columns, and its digest."""

    sources: tuple[Source, ...]
    url: str
    caption: str
    passthrough: dict[str, tuple[str, pa.DataType]]
    """Shard column -> (input column, type)."""
    digest: str

    @property
    def schema(self) -> pa.Schema:
        fields = [(c.name, c.type) for c in SHARD_COLUMNS]
        return pa.schema(fields + [(name, kind) for name, (_, kind) in self.passthrough.items()])


def look(job: Job, taken: frozenset[str]) -> Listing:
    """Find the files and columns; InputError before any work if they cannot serve.

    `taken` are the column names that stages write: an input column of that name is kept as
    `input_<name>`.
    """
    sources = find_sources(job)
    columns: dict[str, pa.DataType] = {}
    for source in sources:
        for name, kind in read_schema(source).items():
            columns.setdefault(name, kind)
    if not columns:
        raise InputError(f"input: {', '.join(job.inputs())} is empty")
    url = find_column(columns, job.columns.url, URL_NAMES, "url")
    caption = find_column(columns, job.columns.caption, CAPTION_NAMES, "caption")
    reserved = taken | {c.name for c in SHARD_COLUMNS}
    passthrough = {
        (f"input_{name}" if name in reserved else name): (name, kind)
        for name, kind in columns.items()
        if name not in (url, caption)
    }
    if not any(len(raw) or raw.broken for source in sources for raw in _head(source)):
        raise InputError(f"input: {', '.join(job.inputs())} has no rows")
    recipe = [VERSION, url, caption, sorted((k, v[0], str(v[1])) for k, v in passthrough.items())]
    digest = digest_of([recipe, [(s.url, s.format, s.key) for s in sources]])
    return Listing(tuple(sources), url, caption, passthrough, digest)


def _head(source: Source) -> Iterator[Raw]:
    for raw in read_batches(source):
        yield raw
        return


def deal(run: Run, job: Job, listing: Listing, progress: Callable[[int], None]) -> ShardIndex:
    """Read the list and bring the shards up to date; `progress` is told the rows read so far."""
    with tempfile.TemporaryDirectory(prefix="winnow-ingest-") as scratch:
        small = sum(source.size for source in listing.sources) < _SMALL
        spread = Spread(Path(scratch), listing.schema, 8 if small else 256)
        rows_in = 0
        for source in listing.sources:
            for raw in read_batches(source):
                table = to_table(
                    raw, listing.url, listing.caption, listing.passthrough, listing.schema
                )
                spread.add("new", table, rows_in)
                rows_in += table.num_rows
                progress(rows_in)
        standing = _standing(run, job, listing)
        for shard in range(len(standing.shards) if standing else 0):
            spread.add("old", run.shard(shard), 0, shard=shard)
        spread.close()
        changes: Changes = {}
        if standing is None or not spread.keeps_all():
            run.folder.remove("shards")
            standing = None
        dealt = Dealer(
            run, job.shard_size, list(standing.shards) if standing else [], listing.schema
        )
        for bucket in range(spread.buckets):
            merged = merge(spread.table("new", bucket))
            if standing is not None:
                old = spread.table("old", bucket)
                note_changes(merged, old, changes)
                fresh = pc.invert(pc.is_in(merged["uid"], value_set=old["uid"].combine_chunks()))
                merged = merged.filter(fresh)
            dealt.add(merged)
        dealt.flush()
        apply(run, changes, dealt.shards)
    index = ShardIndex(
        listing.digest, rows_in, tuple(dealt.shards),
        {name: source for name, (source, _) in listing.passthrough.items()},
        {"shard_size": job.shard_size, "schema": str(listing.schema)},
    )  # fmt: skip
    run.folder.write("shards/index.json", index.encode())
    return index


def is_current(run: Run, job: Job, listing: Listing) -> bool:
    """Whether the shards were dealt from this very input at this size."""
    index = run.index
    return (
        index is not None
        and index.inputs == listing.digest
        and index.recipe.get("shard_size") == job.shard_size
        and all(
            run.folder.exists(f"shards/{shard_name(shard)}.parquet") for shard in range(len(index))
        )
    )


def _standing(run: Run, job: Job, listing: Listing) -> ShardIndex | None:
    """The shards that may stay: dealt at this size with these columns, and whole."""
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
