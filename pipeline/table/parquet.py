"""How tables are written to Parquet files and read from them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.table.storage import Folder
from pipeline.words.heartbeat import beat

ROW_GROUP = 100_000
"""Rows of a Parquet row group, the smallest unit that a filtered read can skip."""
Filter = tuple[str, str, Any]
"""A condition on a row: column, one of = >= <, value."""
_MATCHES: Mapping[str, Callable[[pa.ChunkedArray, Any], pa.ChunkedArray]] = {
    "=": pc.equal, ">=": pc.greater_equal, "<": pc.less,
}  # fmt: skip
_MAY_MATCH: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "=": lambda least, most, value: bool(least <= value <= most),
    ">=": lambda _, most, value: bool(most >= value),
    "<": lambda least, _, value: bool(least < value),
}


def write_parquet(table: pa.Table, path: Path, row_group: int = ROW_GROUP) -> None:
    # A dictionary of values that are all different makes the file larger and takes time.
    repeated = [name for name in table.column_names if name != "uid"]
    pq.write_table(
        table, path, compression="zstd", row_group_size=row_group, use_dictionary=repeated
    )


def read_parquet(
    folder: Folder,
    name: str,
    columns: Sequence[str] | None = None,
    filters: Sequence[Filter] = (),
) -> pa.Table:
    """`read_file` of a file in a folder."""
    with folder.local(name) as path:
        return read_file(path, columns, filters)


def read_file(
    path: Path, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
) -> pa.Table:
    """A file's columns; only the rows that match all `filters`, e.g. `("shard", "=", 3)`.

    Row groups that have no such rows by their statistics are not read. ArrowInvalid for a file
    that is not Parquet and for a column that it lacks.
    """
    wanted = list(columns) if columns is not None else None
    beat()
    # Not by `pq.read_table`: it imports pyarrow.dataset and with it pandas, which takes 0.5 s.
    with pq.ParquetFile(path) as file:
        if filters:
            named = wanted and [*wanted, *(column for column, _, _ in filters)]
            table = file.read_row_groups(_row_groups(file.metadata, filters), named)
        else:
            table = file.read(wanted)
    for column, op, value in filters:
        table = table.filter(_MATCHES[op](table[column], value))
    if wanted is None:
        return table
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise pa.ArrowInvalid(f"{path.name} has no column {missing[0]}")
    return table.select(wanted)


def names_in(path: Path) -> list[str]:
    """A file's columns, from its footer."""
    return list(pq.read_schema(path).names)


def _row_groups(metadata: pq.FileMetaData, filters: Sequence[Filter]) -> list[int]:
    places = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}

    def may_match(group: int, column: str, op: str, value: Any) -> bool:
        found = metadata.row_group(group).column(places[column]).statistics
        if found is None or not found.has_min_max:
            return True
        return _MAY_MATCH[op](found.min, found.max, value)

    groups = range(metadata.num_row_groups)
    return [group for group in groups if all(may_match(group, *one) for one in filters)]
