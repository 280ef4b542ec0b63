"""One shard's rows with the columns of its parts, and the masks that hide some of their cells."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.arrays import Flags, from_flags, repeat
from pipeline.table.checked import checked
from pipeline.table.columns import LATE, with_late
from pipeline.table.parquet import names_in, read_file
from pipeline.table.part import Sidecar, digest_of, recorded, shard_name
from pipeline.table.run import Run
from pipeline.table.sql import evaluate
from pipeline.table.sums import known_sums

Rows = Flags
"""One boolean per row of a shard, shape (rows,)."""


@dataclass(frozen=True)
class Mask:
    """A stage's `only_if`, the columns it reads, and the columns it hides in rows it leaves out."""

    stage: str
    only_if: str
    reads: tuple[str, ...]
    hides: frozenset[str]


@dataclass(frozen=True)
class ShardData:
    """One shard's rows with every column of its parts.

    `columns` maps each column to its folder (`shards` or a part folder), `folders` each stage to
    the folder of its parts. In a row that one of the `masks` leaves out, the mask's columns are
    null here even if they were measured: for the audit, or under an earlier `only_if`.
    """

    run: Run
    shard: int
    columns: Mapping[str, str]
    folders: Mapping[str, str]
    masks: tuple[Mask, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By folder, the digests of the parts as the driver knows them, and the sha256 of the shard's
    file under `shards`; so a task on an object store need not ask for them."""
    scratch: Path | None = None
    """A local folder for the files that a table stage makes of the shard: those of its output are
    moved out of it, and the rest is removed."""
    stood: pa.Table | None = field(default=None, compare=False, repr=False)
    """For a stage over all shards with `reads_own`: its own part as it stood, of this fingerprint.
    What it holds need not be worked out again."""
    _let_in: dict[str, Rows] = field(default_factory=dict, compare=False, repr=False)
    """Cached results of `lets_in`, by stage."""
    _cells: dict[str, pa.ChunkedArray] = field(default_factory=dict, compare=False, repr=False)
    """Columns as they were read, by name."""
    _records: dict[str, Sidecar | None] = field(default_factory=dict, compare=False, repr=False)
    """Sidecars of the shard's parts, by folder."""

    @property
    def name(self) -> str:
        return shard_name(self.shard)

    def afresh(self) -> "ShardData":
        """The same, with nothing read yet."""
        return replace(self, _let_in={}, _cells={}, _records={})

    def table(self, *names: str) -> pa.Table:
        """The named columns (and `uid`), in the shard's order. KeyError for an unknown name."""
        table = self._measured(names)
        for mask in self.masks:
            for name in sorted(mask.hides.intersection(names)):
                column, rows = table[name], table.num_rows
                blank = repeat("skipped", rows) if name == "status" else pa.nulls(rows, column.type)
                shown = pc.if_else(from_flags(self.lets_in(mask)), column, blank)
                table = table.set_column(table.column_names.index(name), name, shown)
        return table

    def lets_in(self, mask: Mask) -> Rows:
        """Rows for which the mask's condition is true, after the earlier masks were applied."""
        if mask.stage not in self._let_in:
            before = replace(self, masks=self.masks[: self.masks.index(mask)])
            (verdict,) = evaluate(before.table(*mask.reads), [mask.only_if])
            self._let_in[mask.stage] = np.asarray(verdict == 1)
        return self._let_in[mask.stage]

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
            if name not in self._cells:
                by_folder.setdefault(self.columns[name], []).append(name)
        for folder, members in by_folder.items():
            table = self._read(folder, members)
            self._cells.update({name: table[name] for name in members})
        return pa.table({name: self._cells[name] for name in wanted})

    def _read(self, folder: str, names: list[str]) -> pa.Table:
        with self._checked(folder, f"{self.name}.parquet") as path:
            late = {column.name for column in LATE if column.name in names}
            if late and (absent := late - set(names_in(path))):
                own = [name for name in names if name not in absent]
                return with_late(read_file(path, own or ["uid"]))
            return read_file(path, names)

    @contextlib.contextmanager
    def file(self, stage: str, suffix: str) -> Iterator[Path]:
        """A local path of an earlier stage's companion file, e.g. ("download", "tar")."""
        with self._checked(self.folders[stage], f"{self.name}.{suffix}") as path:
            yield path

    @contextlib.contextmanager
    def _checked(self, folder: str, name: str) -> Iterator[Path]:
        """A local path of one of the shard's files. DamagedError if it is not as it was written."""
        if folder == "shards":
            sum_ = self.digests.get(folder) or self.run.sum_of_shard(self.shard)
        else:
            sum_ = self._sums(folder).get(name)
        with checked(self.run.folder.url, self.run.folder.sub(folder), name, sum_) as path:
            yield path

    def _sums(self, folder: str) -> Mapping[str, str]:
        """The checksums of the files of the shard's part, which this process may know already."""
        digest = self.digests.get(folder)
        if digest is not None and (known := known_sums(digest)) is not None:
            return known
        record = self._record(folder)
        return record.digests if record is not None else {}

    def _record(self, folder: str) -> Sidecar | None:
        if folder not in self._records:
            self._records[folder] = recorded(self.run.folder.sub(folder), self.name)
        return self._records[folder]

    def killed(self) -> set[int]:
        """Rows on which a process that measured them died, unless a mask hides what it measured."""
        found: set[int] = set()
        for folder in self.folders.values():
            digest = self.digests.get(folder)
            if digest is not None and digest_of(known_sums(digest)) == digest:
                continue  # the digest of a part with such rows covers them too
            record = self._record(folder)
            rows = {int(row) for row in record.killed} if record is not None else set()
            own = {name for name, place in self.columns.items() if place == folder}
            for mask in self.masks if rows else ():
                if own & mask.hides:
                    rows = {row for row in rows if self.lets_in(mask)[row]}
            found |= rows
        return found

    def array(self, stage: str, suffix: str) -> npt.NDArray[Any]:
        """A companion array, e.g. ("embed", "img.npy"): float16, shape (rows, dim)."""
        with self.file(stage, suffix) as path:
            array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
            return array


def drawn_for_audit(uids: Sequence[str], fraction: float) -> Rows:
    """The random share of rows that are measured although a mask leaves them out.

    Chosen by the uid's last digits, so that every run and every stage chooses the same rows.
    """
    if not fraction:
        return np.zeros(len(uids), bool)
    last = np.frombuffer(bytes.fromhex("".join(uid[-8:] for uid in uids)), ">u4")
    return last < fraction * 2**32
