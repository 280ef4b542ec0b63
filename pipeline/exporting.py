"""Finishing an export: the tasks' shards, then manifest, dataset card and other tools' layouts."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import PartError
from pipeline.layouts.registry import asked, registered
from pipeline.plan import Plan, load_plan
from pipeline.run import ShardIndex
from pipeline.stages.export import Slice, cut, export_fingerprint, write_shard
from pipeline.storage import Folder
from pipeline.table import Sidecar, commit, digest_of, read_sidecar, shard_name
from pipeline.tasks import Worked, timed

PARTS = "parts"
"""The name of an export shard's one input: a digest over its slices and their parts."""


@dataclass(frozen=True)
class Place:
    """Where a plan's export lies."""

    plan: Plan

    @cached_property
    def fingerprint(self) -> str:
        return export_fingerprint(self.plan.job, [node.fingerprint for node in self.plan.nodes])

    @property
    def name(self) -> str:
        return f"export/{self.fingerprint[:12]}"

    @property
    def folder(self) -> Folder:
        return self.plan.run.folder.sub(self.name)

    @property
    def sidecars(self) -> Folder:
        return self.plan.run.folder.sub(f"parts/export-{self.fingerprint[:12]}")


@dataclass(frozen=True)
class Exporter(Place):
    """An export: its place and its shards."""

    slices: tuple[tuple[Slice, ...], ...]
    shard_inputs: tuple[str, ...]
    """What each export shard is made from: its slices, and all parts of their shards."""
    inputs: str
    """What the whole is made from, rows that are not kept included: the manifest counts them."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        index: ShardIndex,
        parts: Mapping[str, Mapping[int, str]],
        shards: Sequence[int],
    ) -> "Exporter":
        """`parts` are digests by stage and shard, `shards` those that are not quarantined."""
        node = plan.by_name["decide"]
        folder = plan.run.folder.sub(node.folder)
        kept = []
        for shard in shards:
            sidecar = read_sidecar(folder, shard_name(shard))
            assert sidecar is not None
            kept.append((shard, int(sidecar.summary["kept"])))
        slices = cut(kept, plan.job.export.shard_size)
        # Every column is written out, so every part counts, and not the verdicts alone.
        made_from = {
            shard: [index.shards[shard][1], *(parts[node.name][shard] for node in plan.nodes)]
            for shard in shards
        }
        own = (digest_of([[astuple(s), made_from[s.shard]] for s in part]) for part in slices)
        return cls(
            plan,
            tuple(tuple(part) for part in slices),
            tuple(own),
            digest_of(list(made_from.values())),
        )

    def standing(self) -> dict[int, Sidecar]:
        found = {}
        for number, inputs in enumerate(self.shard_inputs):
            sidecar = read_sidecar(self.sidecars, shard_name(number), data=self.folder)
            if sidecar is not None and sidecar.inputs == {PARTS: inputs}:
                found[number] = sidecar
        return found

    def open(self) -> None:
        """Take the manifest away: while anything is rewritten, no reader takes it for whole."""
        self.folder.remove("manifest.json")

    def is_finished(self) -> bool:
        """Whether the manifest stands for exactly these shards, with every layout asked for."""
        try:
            manifest = json.loads(self.folder.read("manifest.json"))
        except (FileNotFoundError, ValueError):
            return False
        layouts = {layout.name: layout.version for layout in asked(self.plan.job)}
        return (
            manifest.get("inputs") == self.inputs
            and manifest.get("card") == self.card_digest()
            and manifest.get("layouts") == layouts
            and len(self.standing()) == len(self.slices)
        )

    def card_digest(self) -> str:
        from pipeline.inspect.card import VERSION

        export = self.plan.job.export
        return digest_of([VERSION, export.title, export.license, self.plan.job.name])


@timed
def run_export(
    run_url: str, plan_digest: str, number: int, slices: Sequence[Slice], inputs: str
) -> Worked:
    """Write one export shard and its sidecar."""
    plan = load_plan(run_url, plan_digest)
    place, start = Place(plan), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
        parts = [(plan.judged(part.shard), part) for part in slices]
        tables, files, rows = write_shard(number, parts, Path(scratch))
        _check_written(tables, rows, slices)
        sidecar = commit(
            place.sidecars, shard_name(number), number, tables, files,
            stage="export", fingerprint=place.fingerprint, inputs={PARTS: inputs}, rows=rows,
            seconds=time.monotonic() - start, data=place.folder,
        )  # fmt: skip
    return Worked({"export": sidecar.digest}, rows, {"rows": rows})


def _check_written(tables: Mapping[str, pa.Table], rows: int, slices: Sequence[Slice]) -> None:
    """PartError unless the shard holds just the kept rows that are due, each once."""
    due = sum(part.stop - part.start for part in slices)
    uids = [uid for table in tables.values() for uid in table["uid"].to_pylist()]
    if not due == rows == len(uids) == len(set(uids)):
        raise PartError(f"export: {due} kept rows are due, {len(set(uids))} were written")


def finish(
    exporter: Exporter,
    counts: Mapping[str, int],
    provenance: Mapping[str, Any],
    say: Callable[[str], None],
) -> str:
    """Write manifest, card and other layouts once all shards stand; the export's digest.

    The digest covers the bytes of every tar and parquet: equal data, equal digest. What a layout
    could not take is said, and noted in manifest and card.
    """
    from pipeline.inspect.card import dataset_card

    exporter.open()
    job, folder = exporter.plan.job, exporter.folder
    sidecars = [sidecar for _, sidecar in sorted(exporter.standing().items())]
    shards = [
        {
            "tar": f"{shard_name(i)}.tar",
            "parquet": f"{shard_name(i)}.parquet",
            "rows": sidecar.rows,
            "bytes": sidecar.files[f"{shard_name(i)}.tar"],
            "sha256": sidecar.digests[f"{shard_name(i)}.tar"],
            "parquet_sha256": sidecar.digests[f"{shard_name(i)}.parquet"],
        }
        for i, sidecar in enumerate(sidecars)
    ]
    _sweep(exporter)
    layouts = asked(job)
    notes = [note for layout in layouts for note in layout.write(exporter)]
    for note in notes:
        say(note)
    digest = digest_of([[s["sha256"], s["parquet_sha256"]] for s in shards])
    manifest = {
        "name": job.name,
        "recipe": exporter.fingerprint,
        "fingerprint": digest_of([exporter.fingerprint, digest]),
        "digest": digest,
        "inputs": exporter.inputs,
        "card": exporter.card_digest(),
        "rows": sum(sidecar.rows for sidecar in sidecars),
        "counts": dict(counts),
        "layouts": {layout.name: layout.version for layout in layouts},
        "notes": notes,
        "shards": shards,
    }
    schema = None
    if shards:
        with folder.local(f"{shard_name(0)}.parquet") as path:
            schema = pq.read_schema(path)
    card = dataset_card(exporter.plan, manifest, provenance, schema)
    folder.write("README.md", card.encode())
    folder.write("manifest.json", json.dumps(manifest, indent=1).encode())
    return digest


def _sweep(exporter: Exporter) -> None:
    """Take away layouts, which are written anew if they are asked for, and shards of a longer
    export of the same recipe (the input shrank). Files of other makers stay."""
    folder, layouts = exporter.folder, registered().values()
    for name in folder.files():
        for layout in (one for one in layouts if one.owns(name)):
            if not layout.always or _number(name) >= len(exporter.slices):
                folder.remove(name)
    left = folder.files()
    for name in folder.names():
        if not any(file == name or file.startswith(f"{name}/") for file in left):
            folder.remove(name)


def _number(name: str) -> int:
    """The shard whose file this is, by the digits its name begins with."""
    return int(name.split(".")[0].split("_")[0])
