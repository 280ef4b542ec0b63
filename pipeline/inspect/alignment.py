"""Whether parts have their shard's uids row by row, without decoding them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.engine.parts import Parts
from pipeline.table.part import shard_name
from pipeline.table.run import Run


def aligned_parts(
    run: Run, parts: Sequence[Parts], shards: Iterable[int]
) -> dict[int, frozenset[str]]:
    """By shard, the names of the parts that hold the column `uid` in the very bytes that the shard
    does. On an object store: those that the store lists as the very version that was committed,
    because a part is compared with its shard before.

    All tables are written alike, so equal uids are equal bytes of the file, and these are compared
    ten times as fast as texts. Other parts can still be aligned: their files may come from another
    version of the writer, or be copies of another store.
    """
    if not run.folder.is_local:
        return {shard: _unchanged(run, parts, shard) for shard in shards}
    root, found = Path(run.folder.path()), {}
    for shard in shards:
        name = f"{shard_name(shard)}.parquet"
        own = _uid_bytes(root / "shards" / name)
        found[shard] = frozenset(
            part.name
            for part in parts
            if shard in part.sidecars and own and _uid_bytes(root / part.folder / name) == own
        )
    return found


def _unchanged(run: Run, parts: Sequence[Parts], shard: int) -> frozenset[str]:
    name = f"{shard_name(shard)}.parquet"
    found = set()
    for part in parts:
        version = part.sidecars[shard].versions.get(name) if shard in part.sidecars else None
        if version is not None and version == run.folder.sub(part.folder).version(name):
            found.add(part.name)
    return frozenset(found)


def _uid_bytes(path: Path) -> list[Any]:
    """What determines a file's column `uid`: of each row group the rows, the way that they are
    encoded, and the bytes. Empty for a file without such a column."""
    with path.open("rb") as file:
        metadata = pq.read_metadata(file)
        names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
        if "uid" not in names:
            return []
        found: list[Any] = [metadata.schema.column(names.index("uid")).physical_type]
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(names.index("uid"))
            file.seek(min(chunk.dictionary_page_offset or chunk.data_page_offset,
                          chunk.data_page_offset))  # fmt: skip
            data = file.read(chunk.total_compressed_size)
            found.append((chunk.num_values, chunk.compression, chunk.encodings, data))
    return found
