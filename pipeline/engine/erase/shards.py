"""Emptying rows in the shards' own files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.engine.erase.rows import rows_of
from pipeline.engine.patches import marked
from pipeline.ingest.buckets import write_shard
from pipeline.ingest.rows import forgotten
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name
from pipeline.table.run import Run


def holding(run: Run, uids: Sequence[str]) -> dict[str, Any]:
    """`{shard's name: rows}` of the shards that hold some of these uids."""
    wanted = pa.array(sorted(uids), pa.string())
    names = [shard_name(shard) for shard in range(len(run.index or ()))]
    found = {name: rows_of(run.folder, f"shards/{name}.parquet", wanted) for name in names}
    return {name: rows for name, rows in found.items() if rows}


def erase(run: Run, held: Mapping[str, Any]) -> None:
    """Empty the rows, and note the new digests in the shards' index."""
    index = run.index
    if index is None:
        return
    if held:
        # Some files will not have the checksums on record until the index is written again.
        run.folder.write("shards/index.json", replace(index, files=()).encode())
    shards = index.dealt
    for name, rows in held.items():
        file = f"shards/{name}.parquet"
        table = read_parquet(run.folder, file)
        table = forgotten(table, marked(table.num_rows, rows))
        shards[int(name)] = write_shard(run, int(name), table)
    run.folder.write("shards/index.json", index.with_dealt(shards).encode())
