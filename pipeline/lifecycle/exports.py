"""Damaged records of exports of earlier settings, which no run makes again."""

from pipeline.engine.erase.parts import EXPORT
from pipeline.export.finish import OTHERS, Manifest, note_other_files
from pipeline.lifecycle.damaged import Damage
from pipeline.table.checked import is_whole
from pipeline.table.part import Sidecar, digest_of
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.words.errors import DamagedError


def heal_record(run: Run, one: Damage) -> str | None:
    """Write the record of an export's files again from its manifest: a line.

    None if this is another kind of damage, or if the files are not those of the manifest. The
    record of a shard does not say then what it was made from: if those settings come back, it is
    made again.
    """
    records, _, name = one.file.rpartition("/")
    prefix, stem = f"parts/{EXPORT}", name.removesuffix(".json")
    if one.product != "export" or not records.startswith(prefix) or _is_current(run, records):
        return None
    place, folder = (
        run.folder.sub(f"export/{records.removeprefix(prefix)}"),
        run.folder.sub(records),
    )
    if (manifest := Manifest.read(place)) is None:
        return None
    if stem == OTHERS:
        if note_other_files(place, folder, manifest.values) != manifest.values.get("files"):
            return None
    elif not stem.isdecimal() or not _note_shard(place, folder, stem, manifest):
        return None
    return f"{one.file} was written again from {place.path('manifest.json')}: nothing is lost"


def _is_current(run: Run, records: str) -> bool:
    """Whether these are the records of the last job's export; also if that is not known."""
    try:
        noted = run.state.get("products", {}).get("export", {})
    except DamagedError:
        return True
    return bool(noted) and records.endswith(str(noted["folder"]).rpartition("/")[2])


def _note_shard(place: Folder, folder: Folder, stem: str, manifest: Manifest) -> bool:
    """Write a shard's record, if its files are as the manifest says."""
    shard = next((one for one in manifest.values["shards"] if one["tar"] == f"{stem}.tar"), None)
    if shard is None:
        return False
    sums = {shard["tar"]: shard["sha256"], shard["parquet"]: shard["parquet_sha256"]}
    # Its statistics are in the record of the other files.
    if not all(is_whole(place, name, sum_) for name, sum_ in sums.items()):
        return False
    sizes = {name: place.size(name) or 0 for name in sums}
    record = Sidecar(
        "export", manifest.fingerprint, int(stem), int(shard["rows"]), {}, digest_of(sums),
        sizes, sums, 0.0, 0.0,
    )  # fmt: skip
    folder.write(f"{stem}.json", record.encode())
    return True
