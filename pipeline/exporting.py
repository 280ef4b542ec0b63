"""Finishing an export: the tasks' shards, then manifest, dataset card and other tools' layouts."""

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, PartError
from pipeline.plan import Plan, load_plan
from pipeline.run import ShardIndex
from pipeline.stages.export import Slice, cut, export_fingerprint, vectors, write_shard
from pipeline.stages.ingest import Listing
from pipeline.stages.rows import as_text
from pipeline.storage import Folder
from pipeline.table import Sidecar, commit, digest_of, read_parquet, read_sidecar, shard_name
from pipeline.tasks import Worked, timed

PARTS = "parts"
"""The name of an export shard's one input: a digest over all parts of all shards."""


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
    inputs: str

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
        inputs = digest_of(
            [
                [index.shards[shard][1], *(parts[node.name][shard] for node in plan.nodes)]
                for shard in shards
            ]
        )
        return cls(plan, tuple(tuple(part) for part in slices), inputs)

    def standing(self) -> dict[int, Sidecar]:
        found = {}
        for number in range(len(self.slices)):
            sidecar = read_sidecar(self.sidecars, shard_name(number), data=self.folder)
            if sidecar is not None and sidecar.inputs == {PARTS: self.inputs}:
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
        asked = list(self.plan.job.export.formats)
        return (
            manifest.get("inputs") == self.inputs
            and manifest.get("card") == self.card_digest()
            and sorted(manifest.get("formats", [])) == sorted(asked)
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
    for stale in ("img_emb", "text_emb", "metadata", "subset.npy"):
        folder.remove(stale)
    notes: list[str] = []
    for layout in job.export.formats:
        notes += {"clip-retrieval": _clip_retrieval, "datacomp": _datacomp}[layout](exporter)
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
        "formats": list(job.export.formats),
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
    """Shards of a longer export of the same recipe (the input shrank) must not be read as ours."""
    for name in exporter.folder.names():
        stem = name.split(".")[0].removesuffix("_stats")
        if stem.isdigit() and int(stem) >= len(exporter.slices):
            exporter.folder.remove(name)


def _clip_retrieval(exporter: Exporter) -> list[str]:
    """`img_emb/img_emb_0.npy`, `text_emb/text_emb_0.npy`, `metadata/metadata_0.parquet` …"""
    folder = exporter.folder
    for number, slices in enumerate(exporter.slices):
        parts = [(exporter.plan.judged(part.shard), part) for part in slices]
        for short, long in (("img", "img"), ("txt", "text")):
            with (
                folder.create(f"{long}_emb/{long}_emb_{number}.npy") as path,
                path.open("wb") as out,
            ):
                np.save(out, vectors(parts, short), allow_pickle=False)
        with (
            folder.local(f"{shard_name(number)}.parquet") as source,
            folder.create(f"metadata/metadata_{number}.parquet") as path,
        ):
            path.write_bytes(source.read_bytes())
    return []


def pool_column(passthrough: Mapping[str, str]) -> str | None:
    """The shards' column that holds the list's own `uid`, for `uid` is winnow's."""
    return next((name for name, source in passthrough.items() if source == "uid"), None)


def is_pool_uid(value: Any) -> bool:
    """Whether a value is a uid as DataComp's metadata has them: 32 hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{32}", value) is not None


def halves_of(uids: Iterable[str]) -> npt.NDArray[Any]:
    """Uids as DataComp packs them: first and last 16 hex digits, u8,u8; sorted, each once."""
    pairs = sorted({(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids})
    return np.array(pairs, "u8,u8")


def check_pool(listing: Listing) -> None:
    """InputError unless the list has DataComp's uids; its first rows are looked at."""
    name, kind = next((e for e in listing.passthrough.values() if e[0] == "uid"), ("", None))
    due = "32 hex digits, as in DataComp's metadata, are due; or leave datacomp out"
    if not name:
        raise InputError(
            "export.formats: datacomp needs the pool's uids; keep DataComp's metadata with a "
            "column `uid` as the list, or leave datacomp out"
        )
    if not pa.types.is_string(kind):
        raise InputError(f"export.formats: datacomp: the list's `uid` is {kind}; {due}")
    values = [as_text(value)[0] for value in listing.head("uid")]
    if values and not any(map(is_pool_uid, values)):
        shown = next((value for value in values if value), None)
        raise InputError(
            f"export.formats: datacomp: the list's `uid` holds `{str(shown)[:40]}`; {due}"
        )


def _datacomp(exporter: Exporter) -> list[str]:
    """DataComp's subset file: the uids of the pool, which its resharder looks for in the pool's
    own tars. It takes a row as often as the file holds its uid; so each stands once."""
    folder, index = exporter.folder, exporter.plan.run.index
    column = pool_column(index.passthrough) if index is not None else None
    assert column is not None, "prepare refuses a list without"
    values: list[Any] = []
    for number in range(len(exporter.slices)):
        table = read_parquet(folder, f"{shard_name(number)}.parquet", [column])
        values += table[column].to_pylist()
    uids = [value for value in values if is_pool_uid(value)]
    subset = halves_of(uids)
    with folder.create("subset.npy") as path, path.open("wb") as out:
        np.save(out, subset, allow_pickle=False)
    notes, kept = [], f"of {len(values):,} kept rows"
    if left := len(values) - len(uids):
        notes.append(
            f"datacomp: {left:,} {kept} have no uid of 32 hex digits, and are not in subset.npy"
        )
    if shared := len(uids) - len(subset):
        notes.append(
            f"datacomp: {shared:,} {kept} share a uid of the pool with another; it is taken once"
        )
    return notes
