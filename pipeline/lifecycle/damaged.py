"""One file of a run, and how it should be: what `winnow verify` compares and says."""

from dataclasses import dataclass

from pipeline.engine.salvage import stored_rows, whole_pictures
from pipeline.table.checked import CHANGED, CUT, MISSING
from pipeline.table.parquet import read_parquet
from pipeline.table.part import file_digest
from pipeline.table.storage import Folder

NO_RECORD = "has no valid record"


@dataclass(frozen=True)
class Damage:
    """A damaged file. `key` is the number of the shard, or of the export's shard, that it belongs
    to; `rows` are those of its part, any of which may be touched. `record` is the file that says
    how it should be, which has to go before the part can be made again. `uids` are the rows whose
    pictures are lost with a tar; of other files any row of the part may be touched (None)."""

    file: str
    what: str
    product: str | None = None
    key: int | None = None
    rows: int | None = None
    record: str | None = None
    uids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Recorded:
    """A file and how it should be."""

    name: str
    size: int | None
    sha256: str
    product: str
    key: int | None
    rows: int | None
    record: str


def lost_pictures(folder: Folder, tar: str, table: str) -> tuple[str, ...] | None:
    """The uids of the pictures that a damaged tar has lost; None if the table is gone too."""
    if not folder.exists(table):
        return None
    stored = read_parquet(folder, table, ["uid", "status"])
    had = stored_rows(stored)
    lost = had - {row for row, _ in whole_pictures(folder, tar, had)}
    return tuple(stored["uid"].take(sorted(lost)).to_pylist())


def compare(folder: Folder, file: Recorded) -> tuple[int, Damage | None]:
    def damage(what: str) -> Damage:
        return Damage(file.name, what, file.product, file.key, file.rows, file.record)

    size = folder.size(file.name)
    if size is None:
        return 0, damage(MISSING)
    if file.size is not None and size != file.size:
        return 0, damage(CUT)
    with folder.local(file.name) as path:
        return size, None if file_digest(path) == file.sha256 else damage(CHANGED)
