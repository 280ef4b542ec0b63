"""DataComp's layout: a subset file, with which its resharder selects rows from the pool's tars."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job
from pipeline.export.layout import Export, Layout, Takedown
from pipeline.ingest.rows import as_text
from pipeline.ingest.schema import Listing
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name
from pipeline.words.errors import InputError

FILE = "subset.npy"
_INSTEAD = "of 32 hex digits, as in DataComp's metadata; leave datacomp out for other lists"


class DataComp(Layout):
    """`subset.npy`: the pool's uids, dtype `u8,u8`, sorted, each once.

    The resharder takes a sample as often as the file holds its uid. Format: README and
    `resharder.py` of mlfoundations/datacomp.
    """

    name = "datacomp"
    text = "`subset.npy`, for DataComp's resharder; the list must have the pool's column `uid`."
    files = (re.escape(FILE),)

    def needs(self, job: Job, listing: Listing) -> str | None:
        column = pool_column({name: one[0] for name, one in listing.passthrough.items()})
        if column is None:
            return f"the pool's uids: a column `uid` of the list, {_INSTEAD}"
        kind = listing.schema.field(column).type
        if not pa.types.is_string(kind):
            return f"the pool's uids; the list's `uid` is {kind}, not {_INSTEAD}"
        values = [as_text(value)[0] for value in listing.head("uid")]
        if values and not any(map(is_pool_uid, values)):
            shown = next((value for value in values if value), None)
            return f"the pool's uids; the list's `uid` holds `{str(shown)[:40]}`, not {_INSTEAD}"
        return None

    def write(self, export: Export) -> list[str]:
        folder = export.folder
        column = pool_column(export.index.passthrough)
        if column is None:  # the job was changed and not run since, so the list was not read again
            raise InputError(
                f"export.formats: datacomp needs a column `uid` of the list, {_INSTEAD}"
            )
        values: list[Any] = []
        for number in range(len(export.slices)):
            table = read_parquet(folder, f"{shard_name(number)}.parquet", [column])
            values += table[column].to_pylist()
        uids = [value for value in values if is_pool_uid(value)]
        subset = halves(uids)
        with folder.create(FILE) as path, path.open("wb") as out:
            np.save(out, subset, allow_pickle=False)
        notes, kept = [], f"of {len(values):,} kept rows"
        if left := len(values) - len(uids):
            notes.append(
                f"datacomp: {left:,} {kept} have no uid of 32 hex digits, and are not in {FILE}"
            )
        if shared := len(uids) - len(subset):
            notes.append(
                f"datacomp: {shared:,} {kept} share a uid of the pool with another; it is taken "
                "once"
            )
        return notes

    def erase(self, takedown: Takedown) -> None:
        gone: set[str] = set()
        for number in takedown.shards:
            table = takedown.table(number)
            rows = table.filter(pa.array(takedown.gone(table)))
            # The uid of the pool; `ingest` may have added the prefix several times.
            for name in (n for n in rows.column_names if re.fullmatch("(input_)+uid", n)):
                gone.update(filter(is_pool_uid, rows[name].to_pylist()))
        with takedown.folder.local(FILE) as path:
            subset = np.load(path, allow_pickle=False)
        with takedown.folder.create(FILE) as path, path.open("wb") as out:
            np.save(out, subset[~np.isin(subset, halves(gone))], allow_pickle=False)


def pool_column(sources: Mapping[str, str]) -> str | None:
    """The shards' column that holds the list's `uid` (the shards' `uid` is winnow's).

    `sources` maps the shards' columns to the list's.
    """
    return next((name for name, source in sources.items() if source == "uid"), None)


def is_pool_uid(value: Any) -> bool:
    """Whether a value is a uid as DataComp's metadata has them: 32 hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{32}", value) is not None


def halves(uids: Iterable[str]) -> npt.NDArray[Any]:
    """Uids as DataComp packs them: first and last 16 hex digits, `u8,u8`; sorted, each once."""
    return np.array(sorted({(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids}), "u8,u8")
