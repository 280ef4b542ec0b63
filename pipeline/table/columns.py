"""Columns of the sample table, and the check that a part has its shard's rows in the same order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.table.stored import STORED
from pipeline.words.errors import PartError


@dataclass(frozen=True)
class Column:
    """A measurement: its name, arrow type and one line of documentation."""

    name: str
    type: pa.DataType
    text: str


_NOT_SHOWN = frozenset({"small", "samples", "dup_checks"})
"""Columns that `samples` does not have: pictures, which each `SELECT *` would read, and notes that
a stage makes for itself."""


def shown(names: Iterable[str]) -> list[str]:
    """Those of a part's columns that it adds to `samples`."""
    return [name for name in names if name != "uid" and name not in _NOT_SHOWN]


SHARD_COLUMNS = (
    Column("uid", pa.string(), "First 32 hex digits of sha256(url, NUL, caption)."),
    Column("url", pa.string(), "The picture's address, as given."),
    Column("caption", pa.string(), "The caption, as given."),
    Column("repeats", pa.int32(), "How many input rows had this URL and caption; they are merged."),
    Column(
        "input_error", pa.string(), "Why the row could not be read as a pair; null if it could."
    ),
)


STORED_COLUMN = Column(
    STORED,
    pa.string(),
    "Where a file of the list holds the picture itself: the file, the place in it, and a stamp of "
    "the file; there only if some file does.",
)


SIGNALS = (
    Column(
        "optout_metadata",
        pa.string(),
        "The picture's own statement that reserves it from training or mining, such as `plus: "
        "DMI-PROHIBITED`, `tdm: reservation` or `cawg.ai_training: notAllowed`; null if there is "
        "none.",
    ),
    Column(
        "ai_generated_declared",
        pa.string(),
        "The picture's own statement that a model made it: IPTC's or C2PA's source type, or the "
        "settings or name that a generator left; null if there is none.",
    ),
    Column(
        "license_declared",
        pa.string(),
        "The licence's address, else the terms of use, else the notice of copyright, in XMP, EXIF "
        "or IPTC; as stated, at most 300 characters.",
    ),
    Column("creator", pa.string(), "The maker, in XMP, EXIF or IPTC; as stated."),
)
"""What a picture's metadata says. Of the stage `download`; parts that an earlier version wrote have
no such columns, and are read as if these were null."""
DECLARED = "declared"
"""The entry of a part's summary that shows that it has the columns `SIGNALS`: how many say what."""


WARNINGS = Column(
    "decode_warnings",
    pa.string(),
    "What is wrong with the file of a stored picture, although viewers show it: words of "
    "docs/reasons.md with `, ` between them; null if nothing is.",
)
"""Of the stage `download`, and later than `SIGNALS`."""
WARNED = "warned"
"""The entry of a part's summary that shows that it has the column `WARNINGS`."""
LATE = (*SIGNALS, WARNINGS)
"""Columns that parts of earlier versions lack: their rows are not fetched again for them."""


def lacks(summary: Mapping[str, Any]) -> frozenset[str]:
    """The names of `LATE` that a download part lacks, by its sidecar's summary."""
    none = () if DECLARED in summary else tuple(column.name for column in SIGNALS)
    return frozenset(none if WARNED in summary else (*none, WARNINGS.name))


def with_late(table: pa.Table) -> pa.Table:
    """A download part's table with the columns `LATE`, null where it has none."""
    for column in LATE:
        if column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(len(table), column.type))
    return table


def check_rows(expected: Sequence[str], got: Sequence[str], place: str) -> None:
    """Check that the uids are the same, in the same order. PartError names the first difference."""
    if list(expected) == list(got):
        return
    lost = set(expected) - set(got)
    if lost:
        raise PartError(f"{place}: {len(lost)} rows lost, the first {min(lost)}")
    strange = set(got) - set(expected)
    if strange:
        raise PartError(f"{place}: {len(strange)} rows of no shard, the first {min(strange)}")
    if len(got) != len(expected):
        raise PartError(f"{place}: {len(got) - len(expected)} rows repeated")
    index = next(i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b)
    raise PartError(f"{place}: rows reordered from row {index} on ({expected[index]} expected)")


def check_columns(columns: Iterable[Column], table: pa.Table, place: str) -> pa.Table:
    """The table in the declared columns and types; PartError for a missing or surplus one."""
    schema = pa.schema([("uid", pa.string()), *((c.name, c.type) for c in columns)])
    missing = [name for name in schema.names if name not in table.column_names]
    surplus = [name for name in table.column_names if name not in schema.names]
    if missing or surplus:
        raise PartError(f"{place}: columns missing {missing}, surplus {surplus}")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PartError(f"{place}: {error}") from error


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows. `schema.empty_table()` imports pandas, which takes half a second."""
    return pa.Table.from_batches([], schema)
