"""Shards and their index made again after damage, so that no row changes its place.

The rows of a shard are in the list, their order is in every part that was made of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.ingest.buckets import ORDER, merge, shard_digest, write_shard
from pipeline.ingest.reading import read_batches
from pipeline.ingest.rows import forgotten, to_table
from pipeline.ingest.schema import Listing
from pipeline.table.arrays import whole
from pipeline.table.checked import is_whole
from pipeline.table.freshness import INGEST
from pipeline.table.parquet import read_parquet
from pipeline.table.part import read_sidecar, shard_name
from pipeline.table.run import Dealt, Run, ShardIndex
from pipeline.table.tombstones import Tombstones


def listed_rows(
    listing: Listing, tombstones: Tombstones, progress: Callable[[int], None]
) -> Iterator[pa.Table]:
    """The list's rows in the shards' columns; those that were taken down without their content."""
    count = 0
    for source, (url, caption) in zip(listing.sources, listing.pairs, strict=True):
        for raw in read_batches(source):
            table = to_table(raw, url, caption, listing.passthrough, listing.schema)
            yield forgotten(table, tombstones.mask(table["uid"], table["url"]))
            count += table.num_rows
            progress(count)


def recipe_of(job: Job, listing: Listing) -> dict[str, Any]:
    """What added rows must have in common with the shards that exist."""
    return {"shard_size": job.shard_size, "schema": str(listing.schema)}


def cut_shards(run: Run, index: ShardIndex) -> list[int]:
    """Shards whose file is missing or has another size."""
    sizes = (run.folder.size(f"shards/{shard_name(k)}.parquet") for k in range(len(index)))
    return [
        shard
        for shard, (size, dealt) in enumerate(zip(sizes, index.dealt, strict=True))
        if size is None or dealt.bytes not in (None, size)
    ]


def damaged_shards(run: Run, index: ShardIndex, shards: Iterable[int]) -> Iterator[int]:
    """Those of the shards whose file is missing, or is not as it was written."""
    dealt = index.dealt
    for shard in shards:
        sum_, name = dealt[shard].sha256, f"shards/{shard_name(shard)}.parquet"
        if sum_ is None:
            table = _table(run, shard)
            is_good = table is not None and shard_digest(table) == dealt[shard].digest
        else:
            is_good = is_whole(run.folder, name, sum_)
        if not is_good:
            yield shard


def _table(run: Run, shard: int) -> pa.Table | None:
    """A shard's rows; None if its file cannot be read."""
    try:
        return run.shard(shard)
    except Exception:  # a Parquet reader can raise anything on invalid bytes
        return None


def restore(
    run: Run, listing: Listing, index: ShardIndex, shards: Sequence[int],
    progress: Callable[[int], None],
) -> ShardIndex | None:  # fmt: skip
    """Write these shards again, with the same rows in the same order; the index as it is now.

    A readable shard whose order no part tells stays as it is: a deal that was killed may have
    written it. None if such a shard cannot be read, or if the list lacks a row of the others.
    """
    orders = {shard: order_in_parts(run, shard, index.shards[shard][1]) for shard in shards}
    known = {shard: uids for shard, uids in orders.items() if uids is not None}
    for shard in (shard for shard in shards if shard not in known):
        table = _table(run, shard)
        if table is None or table.num_rows != index.shards[shard][0]:
            return None
    if not known:
        return index
    rows = _rows_of(run, listing, pa.chunked_array(pa.concat_arrays(known.values())), progress)
    places = {shard: pc.index_in(uids, value_set=rows["uid"]) for shard, uids in known.items()}
    if any(place.null_count for place in places.values()):
        return None
    entries = index.dealt
    for shard, place in places.items():
        entries[shard] = write_shard(run, shard, rows.take(place).combine_chunks())
    return index.with_dealt(entries)


def _rows_of(
    run: Run, listing: Listing, uids: pa.ChunkedArray, progress: Callable[[int], None]
) -> pa.Table:
    """The list's rows with these uids, repeats merged, in the shards' columns."""
    tables, first = [listing.schema.empty_table()], 0
    for table in listed_rows(listing, Tombstones.read(run.folder), progress):
        numbered = table.append_column(ORDER, pa.array(range(first, first + table.num_rows)))
        first += table.num_rows
        tables.append(numbered.filter(pc.is_in(table["uid"], value_set=uids)))
    found = merge(pa.concat_tables(tables, promote_options="default"))
    return found.select(listing.schema.names).combine_chunks()


def order_in_parts(run: Run, shard: int, digest: str) -> pa.Array | None:
    """The uids of a shard in their order, from a part that was made of its rows; None if there is
    no such part."""
    name = shard_name(shard)
    for part in run.folder.names("parts"):
        folder = run.folder.sub(f"parts/{part}")
        sidecar = read_sidecar(folder, name)
        table = f"{name}.parquet"
        if sidecar is None or sidecar.inputs.get(INGEST) != digest:
            continue
        if table in sidecar.digests and is_whole(folder, table, sidecar.digests[table]):
            return whole(read_parquet(folder, table, ["uid"])["uid"])
    return None


def rebuild_index(run: Run, job: Job, listing: Listing) -> ShardIndex | None:
    """An index of the shards that are there, as if it was of an older list; None if they are not
    of this schema and shard size. What they lack of the list goes to new shards."""
    names = run.folder.names("shards")
    entries: list[Dealt] = []
    while f"{shard_name(len(entries))}.parquet" in names:
        table = _table(run, len(entries))
        if table is None or str(table.schema) != str(listing.schema):
            return None
        if table.num_rows > job.shard_size:
            return None
        entries.append(Dealt(table.num_rows, shard_digest(table)))
    if not entries or (len(entries) > 1 and entries[0].rows != job.shard_size):
        return None
    return ShardIndex("", {}, 0, (), recipe=recipe_of(job, listing)).with_dealt(entries)
