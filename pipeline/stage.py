"""What a stage is: a name, what it reads and writes, and one of three ways to work.

A new measurement is one file in `stages/` and one line in `stages/__init__.py`.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.run import Run
from pipeline.sql import evaluate
from pipeline.table import Column, read_parquet, shard_name

Rows = npt.NDArray[np.bool_]
"""A mark per row of a shard, shape (rows,)."""


@dataclass(frozen=True)
class Mask:
    """A stage's `only_if`, the columns it reads, and those it hides in rows that it leaves out."""

    stage: str
    only_if: str
    reads: tuple[str, ...]
    hides: frozenset[str]


@dataclass(frozen=True)
class ShardData:
    """One shard's rows with every column that stands beside them.

    `columns` says in which folder a column lies (`shards` or a part folder), `folders` where a
    stage's parts lie. Through `masks`, a row that one of them leaves out looks as if it had never
    been measured, although it was: for the audit, or under an earlier mask that let it in.
    """

    run: Run
    shard: int
    columns: Mapping[str, str]
    folders: Mapping[str, str]
    masks: tuple[Mask, ...] = ()

    @property
    def name(self) -> str:
        return shard_name(self.shard)

    def table(self, *names: str) -> pa.Table:
        """The named columns (and `uid`), in the shard's order. KeyError for an unknown name."""
        table = self._measured(names)
        for mask in self.masks:
            for name in sorted(mask.hides.intersection(names)):
                blank = pa.scalar("skipped" if name == "status" else None, table[name].type)
                shown = pc.if_else(pa.array(self.lets_in(mask)), table[name], blank)
                table = table.set_column(table.column_names.index(name), name, shown)
        return table

    def lets_in(self, mask: Mask) -> Rows:
        """Rows for which the mask's condition is true, read through the masks before it."""
        before = replace(self, masks=self.masks[: self.masks.index(mask)])
        (verdict,) = evaluate(before.table(*mask.reads), [mask.only_if])
        return np.asarray(verdict == 1)

    def left_out(self) -> Rows:
        """Rows that at least one of the masks leaves out."""
        found = np.zeros(self._measured(()).num_rows, bool)
        for mask in self.masks:
            found |= ~self.lets_in(mask)
        return found

    def _measured(self, names: Sequence[str]) -> pa.Table:
        wanted = list(dict.fromkeys(["uid", *names]))
        by_folder: dict[str, list[str]] = {}
        for name in wanted:
            by_folder.setdefault(self.columns[name], []).append(name)
        found = {
            name: column
            for folder, members in by_folder.items()
            for name, column in self._read(folder, members).items()
        }
        return pa.table({name: found[name] for name in wanted})

    def _read(self, folder: str, names: list[str]) -> dict[str, pa.ChunkedArray]:
        table = read_parquet(self.run.folder, f"{folder}/{self.name}.parquet", names)
        return {name: table[name] for name in names}

    @contextlib.contextmanager
    def file(self, stage: str, suffix: str) -> Iterator[Path]:
        """A local path of an earlier stage's companion file, e.g. ("download", "tar")."""
        with self.run.folder.local(f"{self.folders[stage]}/{self.name}.{suffix}") as path:
            yield path

    def array(self, stage: str, suffix: str) -> npt.NDArray[Any]:
        """A companion array, e.g. ("embed", "img.npy"): float16, shape (rows, dim)."""
        with self.file(stage, suffix) as path:
            array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
            return array


def drawn_for_audit(uids: Sequence[str], fraction: float) -> Rows:
    """The random share of rows that is measured although a mask leaves it out.

    Drawn by the uid's last digits, so that every run draws the same rows and all stages do.
    """
    return np.array([int(uid[-8:], 16) for uid in uids], np.int64) < fraction * 2**32


@dataclass
class Output:
    """What a stage yields for one shard: `uid` and its columns, companion files, a few counts."""

    table: pa.Table
    files: dict[str, Path] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A stage with its settings. Instances are small, picklable and hold no model."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    resource: ClassVar[Literal["net", "compute"]] = "compute"
    whole: ClassVar[bool] = False
    """Reads all shards at once (a barrier), not one."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns this stage reads."""

    @property
    @abstractmethod
    def writes(self) -> tuple[Column, ...]:
        """Columns this stage adds."""

    @property
    def only_if(self) -> str | None:
        """SQL over earlier columns; rows that fail it are not measured."""
        return None

    @property
    def after(self) -> tuple[str, ...]:
        """Stages whose companion files this one reads."""
        return ()

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        """Of all masks those that this stage's rows pass: its own and those of what it reads."""
        own = {column.name for column in self.writes}
        return tuple(mask for mask in masks if own & mask.hides)

    def settings(self) -> dict[str, Any]:
        """What changes the result, as JSON values; keys at their defaults are left out.

        So a new key with a default makes nothing stale. A default that changes is a new `version`.
        """
        return {}

    def gates(self) -> dict[str, Any]:
        """Settings that decide which rows are refused, not what is measured of the others.

        They are no part of the fingerprint: `reconsider` finds the rows that a change concerns.
        """
        return {}

    def models(self) -> dict[str, str]:
        """Content digests of the models used, by name."""
        return {}

    def check(self) -> None:  # noqa: B027 - most stages have nothing to check
        """Before any work: InputError if a model, file or setting cannot serve."""

    def recipe(self, upstream: Mapping[str, str]) -> dict[str, Any]:
        """Everything that the fingerprint covers; `upstream` maps stages read to fingerprints."""
        return {
            "stage": self.name,
            "version": self.version,
            "settings": self.settings(),
            "models": self.models(),
            "upstream": dict(sorted(upstream.items())),
        }

    def summary(self, table: pa.Table) -> dict[str, Any]:
        """A few counts of a whole part, for its sidecar, where the stage has any to tell."""
        return {}


class TableStage(Stage):
    """A stage that turns one shard's columns into more columns."""

    @abstractmethod
    def run(self, shard: ShardData, rows: Rows) -> Output:
        """Measure the marked rows; the others' cells are null."""

    def reconsider(self, shard: ShardData, before: Mapping[str, Any], stored: pa.Table) -> Rows:
        """Rows of a part that stands whose answer may be another under today's `gates`.

        `before` are the gates that the part was made under, `stored` is its table.
        """
        return np.zeros(stored.num_rows, bool)


@dataclass
class Measured:
    """A batch's results: columns of one value a picture, arrays of shape (pictures, dim)."""

    columns: dict[str, Sequence[Any] | npt.NDArray[Any]]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


class Session(Protocol):
    """A picture stage's models, loaded in the process that works."""

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Any:
        """One decoded RGB picture (height, width, 3) to what `measure` takes; on decode threads."""

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        """Measure a batch; `rows` holds the columns in `reads` for the same pictures."""


class PictureStage(Stage):
    """A stage that looks at pictures. All stale ones share one reading and decoding of the tar."""

    @property
    def batch(self) -> int:
        """Pictures per call of `measure`."""
        return 64

    @property
    def after(self) -> tuple[str, ...]:
        return ("download",)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Companion arrays `<name>.npy`, float16, shape (rows, dim), zeros where unmeasured."""
        return ()

    @abstractmethod
    def session(self) -> Session:
        """Load the models (through cached loaders)."""


class WholeStage(Stage):
    """A stage that must see all shards: `prepare` each, `merge` once, then `run` each."""

    whole = True

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        """Of all masks those through which this stage sees its shards."""
        return tuple(mask for mask in masks if mask.hides.intersection(self.reads))

    @abstractmethod
    def prepare(self, shard: ShardData) -> pa.Table:
        """What `merge` needs of one shard, `uid` among it."""

    @abstractmethod
    def merge(
        self, shards: Sequence[ShardData], prepared: Callable[[ShardData], pa.Table]
    ) -> pa.Table:
        """The answer over all shards; a column `shard` (int32) says where each row belongs."""

    @abstractmethod
    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        """One shard's columns; `merged` holds only this shard's rows of the merged table."""
