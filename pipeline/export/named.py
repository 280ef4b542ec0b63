"""What an exported row holds of other rows, which a takedown of those must remove from it."""

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LEADERS = ("dup_group", "dup_of")
"""Columns in which a row names another row by its uid."""
CAPTIONS, OWNERS = "captions", "caption_uids"
"""Lists of the same length: captions, and the uids of the rows that they are from."""


def caption_of(row: dict[str, Any]) -> str:
    """What a trainer is to read: the best of the captions, or the only one."""
    return str((row.get(CAPTIONS) or [row["caption"]])[0])


def row_without(row: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """The row with nothing of the rows whose uids are `gone`."""
    led = {name: None for name in LEADERS if row.get(name) in gone}
    if set(row.get(OWNERS) or ()).isdisjoint(gone):
        return {**row, **led}
    pairs = zip(row[CAPTIONS], row[OWNERS], strict=True)
    left = [(caption, uid) for caption, uid in pairs if uid not in gone]
    texts, uids = ([pair[i] for pair in left] or None for i in (0, 1))
    return {**row, **led, CAPTIONS: texts, OWNERS: uids}


def names_any(table: pa.Table, uids: pa.Array) -> bool:
    """Whether a row holds something of the rows `uids`; the columns may be missing."""
    columns = [table[name] for name in LEADERS if name in table.column_names]
    if OWNERS in table.column_names:
        columns.append(pc.list_flatten(table[OWNERS]))
    return any(pc.any(pc.is_in(column, value_set=uids)).as_py() for column in columns)


def table_without(table: pa.Table, uids: pa.Array) -> pa.Table:
    """The table with nothing of the rows `uids` in other rows."""
    if not names_any(table, uids):
        return table
    gone = frozenset(uids.to_pylist())
    names = [name for name in (*LEADERS, CAPTIONS, OWNERS) if name in table.column_names]
    rows = [row_without(row, gone) for row in table.select(names).to_pylist()]
    for name in names:
        column = pa.array([row[name] for row in rows], table.schema.field(name).type)
        table = table.set_column(table.column_names.index(name), name, column)
    return table
