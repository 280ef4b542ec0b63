"""Deals the list into shards: repeated rows are merged, and shards that are up to date stay.

Rows are written to buckets on disk by uid prefix, then each bucket is merged separately, so that
memory holds one bucket and never the whole list. The rows of a deal are in uid order, which also
mixes the hosts; in the list's order if its files hold the pictures. Rows added to the input later
go to new shards; if a row was removed from the input, or the shard size changed, all rows are dealt
anew.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.ingest.buckets import (
    ORDER,
    Buckets,
    Changes,
    Dealer,
    apply,
    merge,
    note_changes,
    shard_digest,
)
from pipeline.ingest.restore import (
    cut_shards,
    damaged_shards,
    listed_rows,
    rebuild_index,
    recipe_of,
    restore,
)
from pipeline.ingest.schema import Listing, find_listing
from pipeline.table.checked import digest_once
from pipeline.table.freshness import changed_inputs, why_stale
from pipeline.table.part import peak_memory, shard_name
from pipeline.table.run import Dealt, Run, ShardIndex
from pipeline.table.scratch import scratch
from pipeline.table.stored import STORED
from pipeline.table.tombstones import NAME as TOMBSTONES
from pipeline.table.tombstones import Tombstones

__all__ = ["Listing", "deal", "find_listing", "why_not_current"]

_SMALL = 256 << 20
"""Bytes of input below which few buckets are used."""
_PICTURES_A_BUCKET = 50 << 30
"""Bytes of input with pictures, of which about a hundredth is the rest of their rows."""


def deal(run: Run, job: Job, listing: Listing, progress: Callable[[int], None]) -> ShardIndex:
    """Read the list and bring the shards up to date; `progress` gets the number of rows read."""
    start = time.monotonic()
    with scratch(run.folder, job.cluster.scratch) as folder:
        buckets = Buckets(folder, listing.schema, _bucket_count(listing))
        rows_in = 0
        tombstones = Tombstones.read(run.folder)
        for table in listed_rows(listing, tombstones, progress):
            buckets.add("new", table, rows_in)
            rows_in += table.num_rows
        existing = _reusable_index(run, job, listing, progress)
        kept: list[Dealt] = []
        for shard in range(len(existing.shards) if existing else 0):
            table = run.shard(shard)
            tombstones.check_covers(table, run.folder.path(TOMBSTONES))
            # The digest of the file itself, because a killed deal may have left an older index.
            name = f"shards/{shard_name(shard)}.parquet"
            with run.folder.local(name) as path:
                size, sum_ = path.stat().st_size, digest_once(path)
            kept.append(Dealt(table.num_rows, shard_digest(table), size, sum_))
            buckets.add("old", table, 0, shard=shard)
        buckets.close()
        if existing is None or not buckets.keeps_all():
            # Removed first, so that shards which a kill leaves unfinished are not taken for whole.
            run.folder.remove("shards/index.json")
            run.folder.remove("shards")
            existing, kept = None, []
        if existing is not None:
            # Without inputs, so that the index of a deal killed from here on counts as stale, and
            # without checksums, because some of the files may be written again.
            stale = replace(existing, inputs={}, files=())
            run.folder.write("shards/index.json", stale.encode())
        shards = _deal(run, job, listing, buckets, kept)
    expected = listing.expected(job.shard_size)
    index = ShardIndex(
        expected.fingerprint, dict(expected.inputs), rows_in, (),
        {name: source for name, (source, _) in listing.passthrough.items()},
        recipe_of(job, listing),
        round(time.monotonic() - start, 3), round(peak_memory(), 1),
    ).with_dealt(shards)  # fmt: skip
    run.folder.write("shards/index.json", index.encode())
    return index


def _bucket_count(listing: Listing) -> int:
    if STORED in listing.passthrough:
        # As few as memory allows: a table of pictures is read once for each.
        return sum(source.size for source in listing.sources) // _PICTURES_A_BUCKET + 1
    return 8 if sum(source.size for source in listing.sources) < _SMALL else 256


def _deal(run: Run, job: Job, listing: Listing, buckets: Buckets, kept: list[Dealt]) -> list[Dealt]:
    """Merge each bucket; new rows go to new shards, changed rows stay at their place."""
    changes: Changes = {}
    dealer = Dealer(run, job.shard_size, list(kept), listing.schema)
    for bucket in range(buckets.count):
        merged = merge(buckets.table("new", bucket))
        if STORED in listing.passthrough:
            # A shard's pictures lie near each other then, and a file is not read for each shard.
            merged = merged.sort_by(ORDER)
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
    cut = cut_shards(run, index)
    return f"shards/{shard_name(cut[0])}.parquet is missing or was cut" if cut else None


def _reusable_index(
    run: Run, job: Job, listing: Listing, progress: Callable[[int], None]
) -> ShardIndex | None:
    """The index if its shards can stay: dealt with this size and these columns, and complete, if
    need be after damaged ones are restored."""
    index = run.index
    if index is None:
        return rebuild_index(run, job, listing)
    if index.recipe != recipe_of(job, listing):
        return None
    damaged = list(damaged_shards(run, index, range(len(index))))
    return restore(run, listing, index, damaged, progress) if damaged else index
