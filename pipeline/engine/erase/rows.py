"""Finds rows in a file by their uids."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.table.storage import Folder


def rows_of(folder: Folder, name: str, uids: pa.Array) -> list[int]:
    """Row numbers of these uids (sorted) in a parquet file; often its footer alone is read."""
    if len(uids) == 0:
        return []
    with folder.local(name) as path, pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("uid")
        low, high = uids[0].as_py(), uids[-1].as_py()
        groups = [file.metadata.row_group(i).column(column) for i in range(file.num_row_groups)]
        known = [group.statistics for group in groups]
        if known and all(
            s is not None and s.has_min_max and (s.max < low or s.min > high) for s in known
        ):
            return []
        found = pc.is_in(file.read(["uid"])["uid"], value_set=uids)
    return [int(row) for row in np.flatnonzero(found.to_numpy(zero_copy_only=False))]


def numbers(names: Iterable[str], suffix: str = ".parquet") -> list[int]:
    """The numbers of shards among a folder's files."""
    stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if stem.isdecimal())
