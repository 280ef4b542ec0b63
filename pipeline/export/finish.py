"""The last steps of an export, after its shards: other layouts, dataset card and manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from pipeline.export.about import write_about
from pipeline.export.blur import BLURRED, FaceBlur
from pipeline.export.card import VERSION, dataset_card
from pipeline.export.layout import Export
from pipeline.export.registry import asked, registered
from pipeline.export.shards import blurred_in
from pipeline.table.freshness import Expected
from pipeline.table.parquet import read_parquet
from pipeline.table.part import Sidecar, digest_of, file_digest, shard_name
from pipeline.table.sealed import seal, unseal
from pipeline.table.storage import Folder

MANIFEST = "manifest.json"
OTHERS = "others"
"""The name of the record of the files that belong to no one shard, beside the shards' sidecars."""


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`, the last file of an export to be written."""

    values: dict[str, Any]

    @classmethod
    def read(cls, folder: Folder) -> "Manifest | None":
        try:
            return cls(unseal(folder.read(MANIFEST)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @staticmethod
    def remove(folder: Folder) -> None:
        """Remove it before any rewriting, so that no reader takes the export for finished."""
        folder.remove(MANIFEST)

    @property
    def whole(self) -> str:
        """Identifies the export: the fingerprint (what was done) and the digest (the result)."""
        return str(self.values.get("fingerprint"))

    @property
    def fingerprint(self) -> str:
        return str(self.values.get("recipe"))

    @property
    def inputs(self) -> Mapping[str, str]:
        found = self.values.get("inputs")
        return found if isinstance(found, dict) else {}

    @property
    def policy(self) -> None:
        return None


def finished_from(export: Export) -> Expected:
    """What an up-to-date manifest was made from: these shards, this card and these layouts."""
    settings = export.job.export
    card = digest_of([VERSION, settings.title, settings.license, export.job.name])
    layouts = {f"layout {one.name}": str(one.version) for one in asked(export.job)}
    return Expected(export.recipe, {"parts": export.inputs, "card": card, **layouts})


def finish(
    export: Export,
    counts: Mapping[str, int],
    provenance: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    """Write manifest, card and other layouts once all shards are up to date.

    The manifest's digest covers the bytes of every tar and parquet: equal data, equal digest. Rows
    that a layout could not hold are reported, and noted in manifest and card.
    """
    Manifest.remove(export.folder)
    job, folder = export.job, export.folder
    sidecars = [sidecar for _, sidecar in sorted(export.current_shards().items())]
    shards = [
        {
            "tar": f"{shard_name(i)}.tar",
            "parquet": f"{shard_name(i)}.parquet",
            "rows": sidecar.rows,
            "bytes": sidecar.files[f"{shard_name(i)}.tar"],
            "sha256": sidecar.digests[f"{shard_name(i)}.tar"],
            "parquet_sha256": sidecar.digests[f"{shard_name(i)}.parquet"],
            **blurred_entry(folder, i),
        }
        for i, sidecar in enumerate(sidecars)
    ]
    _sweep(export)
    layouts = asked(job)
    notes = [note for layout in layouts for note in layout.write(export)]
    for note in notes:
        say(note)
    digest = digest_of([[s["sha256"], s["parquet_sha256"]] for s in shards])
    manifest: dict[str, Any] = {
        "name": job.name,
        "title": job.export.title,
        "license": job.export.license,
        "recipe": export.recipe,
        "fingerprint": digest_of([export.recipe, digest]),
        "digest": digest,
        "inputs": dict(finished_from(export).inputs),
        "rows": sum(sidecar.rows for sidecar in sidecars),
        "counts": dict(counts),
        "layouts": {layout.name: layout.version for layout in layouts},
        "notes": notes,
        "shards": shards,
    }
    if blur := FaceBlur.of(job):
        manifest["blurred"] = blur.facts() | blurred_total(shards)
    schema = None
    if shards:
        with folder.local(f"{shard_name(0)}.parquet") as path:
            schema = pq.read_schema(path)
    card = dataset_card(job, export.rules, manifest, provenance, schema)
    folder.write("README.md", card.encode())
    write_about(folder, manifest)
    manifest["files"] = note_other_files(folder, export.sidecars, manifest)
    folder.write(MANIFEST, seal(manifest))


def blurred_entry(folder: Folder, number: int) -> dict[str, Any]:
    """`blurred` of a shard's entry in the manifest: pictures and faces; {} if none were to be."""
    name = f"{shard_name(number)}.parquet"
    with folder.local(name) as path:
        if BLURRED not in pq.read_schema(path).names:
            return {}
    return {"blurred": blurred_in(read_parquet(folder, name, [BLURRED]))}


def blurred_total(shards: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Pictures and faces that were blurred, over all shards."""
    return {kind: sum(shard["blurred"][kind] for shard in shards) for kind in ("pictures", "faces")}


def note_other_files(folder: Folder, sidecars: Folder, manifest: Mapping[str, Any]) -> str:
    """Write the record of an export's other files (cards, statistics, further layouts), and give
    its digest. They can be as many as the rows, so the manifest has the digest alone."""
    shards = manifest["shards"]
    listed = {MANIFEST, *(shard[name] for shard in shards for name in ("tar", "parquet"))}
    sizes, digests = {}, {}
    for name in folder.files():
        if name not in listed and not name.endswith(".tmp"):
            with folder.local(name) as path:
                sizes[name], digests[name] = path.stat().st_size, file_digest(path)
    record = Sidecar(
        "export", str(manifest["recipe"]), -1, int(manifest["rows"]), {}, digest_of(digests),
        sizes, digests, 0.0, 0.0,
    )  # fmt: skip
    sidecars.write(f"{OTHERS}.json", record.encode())
    return record.digest


def _sweep(export: Export) -> None:
    """Remove layouts (those that the job names are written again) and surplus shards of an earlier,
    larger export of the same recipe. Files that belong to no layout stay."""
    folder, layouts = export.folder, registered().values()
    files = folder.files()
    owned = ((name, layout) for name in files for layout in layouts if layout.owns(name))
    surplus = (name for name, one in owned if not one.always or _number(name) >= len(export.slices))
    folder.remove(*dict.fromkeys(surplus))
    left = folder.files()
    for name in folder.names():
        if not any(file == name or file.startswith(f"{name}/") for file in left):
            folder.remove(name)


def _number(name: str) -> int:
    """The shard that a file belongs to: its name begins with the shard's number."""
    return int(name.split(".")[0].split("_")[0])
