"""DataComp's layout: a subset file, with which its resharder selects rows from the pool's tars."""

import re
from collections.abc import Collection, Iterable, Mapping
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
Half = tuple[int, int]
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
        if job.export.blur_faces:
            return (
                "pictures that are not blurred: it selects from the pool's own tars; remove "
                "`export.blur_faces`, or datacomp"
            )
        sources = {name: one[0] for name, one in listing.passthrough.items()}
        column, source = pool_column(sources, job), _source(job)
        if column is None:
            return f"the pool's uids: a column `{source}` of the list (`columns.uid`), {_INSTEAD}"
        kind = listing.schema.field(column).type
        if not pa.types.is_string(kind):
            return f"the pool's uids; the list's `{source}` is {kind}, not {_INSTEAD}"
        values = [as_text(value)[0] for value in listing.head(source)]
        if values and not any(map(is_pool_uid, values)):
            shown = next((value for value in values if value), None)
            return (
                f"the pool's uids; the list's `{source}` holds `{str(shown)[:40]}`, not {_INSTEAD}"
            )
        return None

    def write(self, export: Export) -> list[str]:
        folder = export.folder
        column = pool_column(export.index.passthrough, export.job)
        if column is None:  # the job was changed and not run since, so the list was not read again
            raise InputError(
                f"export.formats: datacomp needs a column `{_source(export.job)}` of the list, "
                f"{_INSTEAD}"
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
        with takedown.folder.local(FILE) as path:
            subset = np.load(path, allow_pickle=False)
        held: set[Half] = set(subset.tolist())
        gone: set[Half] = set()
        for number in takedown.shards:
            table = takedown.table(number)
            uids = _uids_of_pool(table, held)
            pairs = zip(uids, takedown.gone(table), strict=True)
            gone |= {uid for uid, taken in pairs if taken and uid is not None}
        left = subset[~np.isin(subset, np.array(sorted(gone), "u8,u8"))]
        with takedown.folder.create(FILE) as path, path.open("wb") as out:
            np.save(out, left, allow_pickle=False)


def _source(job: Job) -> str:
    return job.columns.uid or "uid"


def pool_column(sources: Mapping[str, str], job: Job) -> str | None:
    """The shards' column that holds the list's uids (the shards' `uid` is winnow's).

    `sources` maps the shards' columns to the list's.
    """
    wanted = _source(job)
    return next((name for name, source in sources.items() if source == wanted), None)


def _uids_of_pool(table: pa.Table, held: Collection[Half]) -> list[Half | None]:
    """Of each row the pool's uid, packed: from the column that has most in common with the subset,
    since an older export's job may have named another column than today's."""
    found: list[Half | None] = [None] * table.num_rows
    most = 0
    for name in table.column_names:
        if pa.types.is_string(table[name].type):
            own = [
                packed(value) if is_pool_uid(value) else None for value in table[name].to_pylist()
            ]
            if (shared := sum(one in held for one in own)) > most:
                found, most = own, shared
    return found


def is_pool_uid(value: Any) -> bool:
    """Whether a value is a uid as DataComp's metadata has them: 32 hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{32}", value) is not None


def halves(uids: Iterable[str]) -> npt.NDArray[Any]:
    """Uids as DataComp packs them: first and last 16 hex digits, `u8,u8`; sorted, each once."""
    return np.array(sorted(set(map(packed, uids))), "u8,u8")


def packed(uid: str) -> Half:
    """First and last 16 of the 32 hex digits."""
    return int(uid[:16], 16), int(uid[16:], 16)
