"""The export as a product: which shards it has, what each is made from, and the task of one."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.engine.plan import SHARD_FILE, Plan
from pipeline.engine.plan_file import load_plan
from pipeline.engine.product import CURRENT, Product, Status, Work
from pipeline.engine.tasks import TaskResult, timed
from pipeline.export.blur import FaceBlur
from pipeline.export.finish import Manifest, finish, finished_from
from pipeline.export.shards import Slice, export_fingerprint, slice_rows, write_shard
from pipeline.judge.decide import DecideStage
from pipeline.table.checked import read_recorded
from pipeline.table.freshness import INGEST, Expected, why_stale
from pipeline.table.parquet import read_parquet
from pipeline.table.part import (
    Sidecar,
    commit,
    digest_of,
    part_folder,
    read_sidecar,
    shard_name,
)
from pipeline.table.run import Run, ShardIndex
from pipeline.table.shard import ShardData
from pipeline.table.storage import Folder
from pipeline.table.sums import to_tell
from pipeline.words.errors import PartError

PARTS = "parts"
"""The name of an export shard's one input: a digest over its slices and their parts."""


@dataclass(frozen=True)
class Export(Product):
    """The kept rows as a dataset that other tools read, and its folder."""

    plan: Plan
    name = "export"
    keys = "export shards"

    @cached_property
    def fingerprint(self) -> str:
        return export_fingerprint(self.plan.job, [node.fingerprint for node in self.plan.nodes])

    @property
    def folder(self) -> str:
        return f"export/{self.fingerprint[:12]}"

    @property
    def place(self) -> Folder:
        return self.plan.run.folder.sub(self.folder)

    @property
    def sidecars(self) -> Folder:
        return self.plan.run.folder.sub(part_folder(self.name, self.fingerprint))

    def status(self, plan: Plan, before: Mapping[str, Status]) -> Status:
        if not all(before[node.name].current for node in plan.nodes):
            return Status({}, None)
        return SlicedExport.of(self, before, list(before[INGEST].digests)).status()

    def why(self, plan: Plan, before: Mapping[str, Status]) -> str:
        status = self.status(plan, before)
        if status.total is None:
            return "waits for the verdicts"
        return CURRENT if status.current else "not written yet"

    def make(self, work: Work) -> Status:
        if not work.shards:
            return Status({}, None)
        with self.plan.run.folder.hold():
            sliced = SlicedExport.of(self, work.statuses, work.shards)
            before = sliced.current_shards()
        rows = sum(part.stop - part.start for shard in sliced.slices for part in shard)
        done = sum(sidecar.rows for sidecar in before.values())
        calls = {
            number: (
                run_export,
                number,
                slices,
                sliced.shard_inputs[number],
                {part.shard: to_tell(sliced.made[part.shard]) for part in slices},
            )
            for number, slices in enumerate(sliced.slices)
            if number not in before
        }
        if calls:
            Manifest.remove(sliced.folder)
        work.run_keys(self, calls, rows, done)
        # The workers have ended, and nobody else writes here while the rest is made.
        with self.plan.run.folder.hold():
            status = sliced.status()
            if status.unfinished and len(status.digests) == status.total:
                work.remade.add(self.name)
                counts = count_reasons(self.plan, work.shards)
                finish(sliced, counts, work.provenance, work.reporter.say)
                status = sliced.status()
        return status

    def digest(self) -> str:
        """Over the bytes of all tars and tables; empty without a manifest."""
        manifest = Manifest.read(self.place)
        return str(manifest.values["digest"]) if manifest is not None else ""

    @classmethod
    def holding(cls, run: Run, uids: Sequence[str]) -> dict[str, Any]:
        from pipeline.engine.erase import exports

        return exports.holding(run, uids)

    @classmethod
    def erase(cls, run: Run, uids: Sequence[str], held: Mapping[str, Any]) -> None:
        from pipeline.engine.erase import exports

        exports.erase(run, uids, held)

    @classmethod
    def erasure_notes(cls, held: Mapping[str, Any]) -> list[str]:
        from pipeline.engine.erase import exports

        return exports.notes(held)


@dataclass(frozen=True)
class SlicedExport:
    """The export of today's kept rows: which rows go to which export shard."""

    export: Export
    slices: tuple[tuple[Slice, ...], ...]
    shard_inputs: tuple[str, ...]
    """What each export shard is made from: its slices, and all parts of their shards."""
    inputs: str
    """What the whole export is made from, dropped rows included: the manifest counts them."""
    made: Mapping[int, Mapping[str, str]]
    """Digests of the shards' parts by stage, and the checksums of their files."""

    @classmethod
    def of(
        cls, export: Export, statuses: Mapping[str, Status], shards: Sequence[int]
    ) -> "SlicedExport":
        """The kept rows of these shards, of which all parts are up to date."""
        plan = export.plan
        folder = plan.run.folder.sub(plan.by_name["decide"].folder)
        kept = []
        for shard in shards:
            sidecar = read_sidecar(folder, shard_name(shard))
            assert sidecar is not None
            kept.append((shard, int(sidecar.summary["kept"])))
        slices = slice_rows(kept, plan.job.export.shard_size)
        # Every column is written out, so every part counts, and not the verdicts alone.
        names = (INGEST, *plan.by_name)
        made_from = {shard: [statuses[name].digests[shard] for name in names] for shard in shards}
        index = plan.run.index
        files = index.files if index is not None else ()
        sums = {shard: {SHARD_FILE: files[shard][1]} for shard in shards if files}
        own = (digest_of([[astuple(s), made_from[s.shard]] for s in part]) for part in slices)
        return cls(
            export,
            tuple(tuple(part) for part in slices),
            tuple(own),
            digest_of(list(made_from.values())),
            {
                shard: {
                    **dict(zip(plan.by_name, made_from[shard][1:], strict=True)),
                    **sums.get(shard, {}),
                }
                for shard in shards
            },
        )

    @property
    def job(self) -> Job:
        return self.export.plan.job

    @property
    def index(self) -> ShardIndex:
        index = self.export.plan.run.index
        assert index is not None
        return index

    @property
    def recipe(self) -> str:
        return self.export.fingerprint

    @property
    def rules(self) -> tuple[Rule, ...]:
        decide = self.export.plan.by_name["decide"].stage
        assert isinstance(decide, DecideStage)
        return decide.rules

    @property
    def folder(self) -> Folder:
        return self.export.place

    @property
    def sidecars(self) -> Folder:
        return self.export.sidecars

    def masked(self, shard: int) -> ShardData:
        return self.export.plan.masked(shard)

    def current_shards(self) -> dict[int, Sidecar]:
        """The sidecars of the export shards that are up to date, by number."""
        found = {}
        for number, inputs in enumerate(self.shard_inputs):
            sidecar = read_sidecar(self.export.sidecars, shard_name(number), data=self.folder)
            expected = Expected(self.export.fingerprint, {PARTS: inputs})
            if sidecar is not None and why_stale(sidecar, expected) is None:
                found[number] = sidecar
        return found

    def status(self) -> Status:
        digests = {number: sidecar.digest for number, sidecar in self.current_shards().items()}
        manifest = Manifest.read(self.folder)
        finished = manifest is not None and why_stale(manifest, finished_from(self)) is None
        whole = manifest.whole if manifest is not None and finished else None
        return Status(digests, len(self.slices), not finished, whole)


def count_reasons(plan: Plan, shards: Sequence[int]) -> dict[str, int]:
    """Rows per reason over the verdicts' files, and `kept`."""
    counts: Counter[str] = Counter()
    folder = plan.by_name["decide"].folder
    for shard in shards:
        found = pc.value_counts(_reasons(plan.run, folder, shard_name(shard)))
        counts.update({row["values"] or "kept": row["counts"] for row in found.to_pylist()})
    return dict(counts.most_common())


def _reasons(run: Run, folder: str, name: str) -> pa.ChunkedArray:
    place, file = run.folder.sub(folder), f"{name}.parquet"
    if run.folder.is_local:
        return read_parquet(place, file, ["reason"])["reason"]
    return read_recorded(run.folder.url, place, name, file, ["reason"])["reason"]


@timed
def run_export(
    run_url: str, plan_digest: str, number: int, slices: Sequence[Slice], inputs: str,
    made: Mapping[int, Mapping[str, str]],
) -> TaskResult:  # fmt: skip
    """Write one export shard and its sidecar; `made` are the digests of its parts."""
    plan = load_plan(run_url, plan_digest, made)
    export, start = Export(plan), time.monotonic()
    for place in (export.sidecars, export.place):
        place.cover(shard_name(number))
    with plan.scratch() as folder:
        parts = [(plan.masked(part.shard), part) for part in slices]
        tables, files, rows = write_shard(number, parts, folder, FaceBlur.of(plan.job))
        _check_written(tables, rows, slices)
        sidecar = commit(
            export.sidecars, shard_name(number), number, tables, files,
            stage=export.name, fingerprint=export.fingerprint, inputs={PARTS: inputs}, rows=rows,
            seconds=time.monotonic() - start, data=export.place,
        )  # fmt: skip
    return TaskResult({export.name: sidecar.digest}, rows, {"rows": rows})


def _check_written(tables: Mapping[str, pa.Table], rows: int, slices: Sequence[Slice]) -> None:
    """PartError unless the shard holds exactly the rows of these slices, each once."""
    expected = sum(part.stop - part.start for part in slices)
    uids = [uid for table in tables.values() for uid in table["uid"].to_pylist()]
    if not expected == rows == len(uids) == len(set(uids)):
        raise PartError(f"export: expected {expected} kept rows, but {len(set(uids))} were written")
