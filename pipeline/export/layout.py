"""The base class of layouts: how one writes its files in an export's folder and erases rows."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.export import named
from pipeline.export.shards import Slice
from pipeline.ingest.schema import Listing
from pipeline.table.parquet import read_parquet
from pipeline.table.part import Sidecar, shard_name
from pipeline.table.run import ShardIndex
from pipeline.table.shard import ShardData
from pipeline.table.storage import Folder


class Export(Protocol):
    """An export with tars and tables written: `00000.parquet` holds the rows of `slices[0]`."""

    @property
    def job(self) -> Job: ...

    @property
    def index(self) -> ShardIndex: ...

    @property
    def recipe(self) -> str:
        """The export's fingerprint: a digest of the settings that its content depends on."""

    @property
    def inputs(self) -> str:
        """A digest over all parts that it is made from."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that judged the rows, in order."""

    @property
    def folder(self) -> Folder: ...

    @property
    def sidecars(self) -> Folder:
        """The folder of its shards' sidecars."""

    @property
    def slices(self) -> Sequence[Sequence[Slice]]: ...

    def current_shards(self) -> Mapping[int, Sidecar]:
        """Its shards' sidecars, by number."""

    def masked(self, shard: int) -> ShardData:
        """One of the run's shards with all masks applied."""


@dataclass(frozen=True)
class Takedown:
    """A takedown in one export: the uids to remove, and the shards that hold or name some."""

    folder: Folder
    uids: pa.Array
    shards: Sequence[int]

    def table(self, number: int) -> pa.Table:
        """The shard's rows; those that are taken out stay in it until every layout is done."""
        return read_parquet(self.folder, f"{shard_name(number)}.parquet")

    def gone(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Marks the table's rows that are to be removed; bool, shape (rows,)."""
        found = pc.is_in(table["uid"], value_set=self.uids)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)

    def left(self, table: pa.Table) -> pa.Table:
        """The table without the rows to remove, and without what others hold of them."""
        return named.table_without(table.filter(pa.array(~self.gone(table))), self.uids)


class Layout(ABC):
    """A layout of files in an export's folder. Instances have no state."""

    name: ClassVar[str]
    """As `export.formats` names it."""
    text: ClassVar[str]
    """One line for the documentation."""
    files: ClassVar[tuple[str, ...]]
    """Regular expressions for its files' names, relative to the folder. They may match no other
    layout's files."""
    version: ClassVar[int] = 1
    """Raised when the same rows give other files, so that existing files are written again."""
    always: ClassVar[bool] = False
    """Whether it is written for every job, by the export's own tasks."""

    def owns(self, name: str) -> bool:
        """Whether a file of this name, relative to the folder, is this layout's."""
        return any(re.fullmatch(pattern, name) for pattern in self.files)

    def needs(self, job: Job, listing: Listing) -> str | None:
        """What is missing in a job for this layout, and the next step, in words; None if nothing.

        Called before any work.
        """
        return None

    @abstractmethod
    def write(self, export: Export) -> list[str]:
        """Write its files for all rows; in words, which rows it could not hold. None of its files
        exists before the call, and the same rows must give the same bytes."""

    @abstractmethod
    def erase(self, takedown: Takedown) -> None:
        """Remove rows from its files, in place; `takedown.folder` may be any older export's.

        If it is killed it is called again, with tables that still hold the rows, so a second call
        must have the same result as one.
        """
