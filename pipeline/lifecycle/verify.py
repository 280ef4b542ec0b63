"""`winnow verify`: compares every file of a run with its checksum, and finds the damaged ones.

Nothing is made from `log.jsonl` and `job.yaml`, which have no checksum.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.engine.erase.parts import EXPORT
from pipeline.export.finish import MANIFEST, Manifest
from pipeline.ingest.restore import damaged_shards
from pipeline.table.part import Sidecar, digest_of, file_digest, shard_name
from pipeline.table.run import Run, ShardIndex
from pipeline.table.sealed import unseal
from pipeline.table.storage import Folder
from pipeline.table.tombstones import NAME as TOMBSTONES
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.threads import worker_threads

RECORDS = ("resolved.json", "state.json", "plan.json", "provenance.json")
NOT_CHECKED = ("log.jsonl", "job.yaml")
INDEX, RECIPE = "shards/index.json", "recipe.json"
MISSING, CUT, CHANGED = "missing", "cut", "changed"
NO_RECORD = "has no valid record"


@dataclass(frozen=True)
class Damage:
    """A damaged file. `key` is the number of the shard, or of the export's shard, that it belongs
    to; `rows` are those of its part, any of which may be touched. `record` is the file that says
    how it should be, which has to go before the part can be made again."""

    file: str
    what: str
    product: str | None = None
    key: int | None = None
    rows: int | None = None
    record: str | None = None


@dataclass(frozen=True)
class _File:
    """A file and how it should be."""

    name: str
    size: int | None
    sha256: str
    product: str
    key: int | None
    rows: int | None
    record: str


def find_all_damage(
    run: Run, *, export_only: bool, progress: Callable[[int], None]
) -> tuple[list[Damage], dict[str, int]]:
    """Every damaged file, and how many `files` and `bytes` were compared with a checksum.

    `progress` gets the bytes of each file that was read.
    """
    damaged: list[Damage] = []
    expected: list[_File] = []
    if not export_only:
        damaged += _records(run)
        damaged += _shards(run)
        for name in run.folder.names("parts"):
            if not name.startswith(EXPORT):
                _part_folder(run, name, damaged, expected)
        _singles(run, damaged, expected)
    for name in run.folder.names("export"):
        _export(run, name, damaged, expected)
    files = {one.name: one for one in expected}
    compared = {"files": 0, "bytes": 0}
    with ThreadPoolExecutor(worker_threads()) as pool:
        for size, found in pool.map(lambda one: _compare(run.folder, one), files.values()):
            compared["files"] += 1
            compared["bytes"] += size
            progress(size)
            if found is not None:
                damaged.append(found)
    return sorted(damaged, key=lambda one: one.file), compared


def _compare(folder: Folder, file: _File) -> tuple[int, Damage | None]:
    def damage(what: str) -> Damage:
        return Damage(file.name, what, file.product, file.key, file.rows, file.record)

    size = folder.size(file.name)
    if size is None:
        return 0, damage(MISSING)
    if file.size is not None and size != file.size:
        return 0, damage(CUT)
    with folder.local(file.name) as path:
        return size, None if file_digest(path) == file.sha256 else damage(CHANGED)


def _records(run: Run) -> Iterator[Damage]:
    for name in RECORDS:
        if (what := _why_unreadable(run.folder, name)) is not None:
            yield Damage(name, what)
    try:
        Tombstones.read(run.folder)
    except (InputError, UnicodeDecodeError):
        yield Damage(TOMBSTONES, CHANGED)


def _why_unreadable(folder: Folder, name: str) -> str | None:
    try:
        unseal(folder.read(name))
    except FileNotFoundError:
        return MISSING
    except ValueError:
        return CHANGED
    return None


def _shards(run: Run) -> Iterator[Damage]:
    index = run.index
    if index is None:
        what = CHANGED if run.folder.exists(INDEX) else MISSING
        yield Damage(INDEX, what, "ingest")
        return
    for shard in damaged_shards(run, index, whole=True):
        file = f"shards/{shard_name(shard)}.parquet"
        size = run.folder.size(file)
        known = index.dealt[shard].bytes
        what = MISSING if size is None else CUT if known not in (None, size) else CHANGED
        yield Damage(file, what, "ingest", shard, index.shards[shard][0])


def _sidecars(
    folder: Folder, path: str, product: str, damaged: list[Damage]
) -> Iterator[tuple[str, Sidecar]]:
    """The valid sidecars of a folder by their names; the others are noted as damage."""
    for name in folder.names():
        if not name.endswith(".json") or name == RECIPE:
            continue
        stem = name.removesuffix(".json")
        try:
            yield stem, Sidecar.decode(folder.read(name), stem)
        except (ValueError, TypeError):
            damaged.append(Damage(f"{path}/{name}", CHANGED, product, record=f"{path}/{name}"))


def _part_folder(run: Run, name: str, damaged: list[Damage], expected: list[_File]) -> None:
    path, (stage, print_) = f"parts/{name}", name.rsplit("-", 1)
    folder = run.folder.sub(path)
    what = _why_unreadable(folder, RECIPE)
    if what is None and digest_of(unseal(folder.read(RECIPE)))[: len(print_)] != print_:
        what = CHANGED
    if what is not None:
        damaged.append(Damage(f"{path}/{RECIPE}", what, stage, record=f"{path}/{RECIPE}"))
    named: set[str] = set()
    for stem, sidecar in _sidecars(folder, path, stage, damaged):
        key = sidecar.shard if sidecar.shard >= 0 else None
        named.update(sidecar.files)
        expected += _files_of(sidecar, path, f"{path}/{stem}.json", stage, key)
    current = run_products(run).get(stage, {})
    is_complete = current.get("folder") == path and current.get("current")
    for shard in range(len(run.index or ()) if is_complete else 0):
        if not folder.exists(f"{shard_name(shard)}.json"):
            file = f"{path}/{shard_name(shard)}.json"
            damaged.append(Damage(file, MISSING, stage, shard, _rows(run.index, shard)))
    # Parts whose record is damaged are made again as a whole, what stages prepare is only removed.
    noted = {one.file for one in damaged if one.product == stage and one.file.count(".") == 1}
    for file in folder.names():
        record = f"{path}/{_record_of(file)}"
        if file not in named and not file.endswith((".json", ".tmp")) and record not in noted:
            damaged.append(Damage(f"{path}/{file}", NO_RECORD, stage))


def _record_of(file: str) -> str:
    """The sidecar that names a file of this name: `00000.tar` -> `00000.json`."""
    stem = file.rsplit(".", 1)[0]
    number = file.partition(".")[0]
    return f"{number if file.endswith(('.tar', '.npy')) else stem}.json"


def _files_of(
    sidecar: Sidecar, path: str, record: str, product: str, key: int | None
) -> Iterator[_File]:
    for file, sum_ in sidecar.digests.items():
        size = sidecar.files.get(file)
        name = f"{path}/{file}" if path else file
        yield _File(name, size, sum_, product, key, sidecar.rows, record)


def _rows(index: ShardIndex | None, shard: int) -> int | None:
    return index.shards[shard][0] if index is not None else None


def run_products(run: Run) -> dict[str, Any]:
    """The products of the last run by name, as `state.json` has them; empty if it is damaged."""
    try:
        products: dict[str, Any] = run.state.get("products", {})
    except DamagedError:
        return {}
    return products


def _singles(run: Run, damaged: list[Damage], expected: list[_File]) -> None:
    for name, noted in run_products(run).items():
        if noted["keys"] != "one":
            continue
        path = str(noted["folder"])
        record = f"{path}/{name}.json" if path else f"{name}.json"
        try:
            sidecar = Sidecar.decode(run.folder.read(record), name)
        except FileNotFoundError:
            if noted.get("current"):
                damaged.append(Damage(record, MISSING, name))
        except (ValueError, TypeError):
            damaged.append(Damage(record, CHANGED, name, record=record))
        else:
            expected += _files_of(sidecar, path, record, name, None)


def _export(run: Run, name: str, damaged: list[Damage], expected: list[_File]) -> None:
    path, records = f"export/{name}", f"parts/{EXPORT}{name}"
    for stem, sidecar in _sidecars(run.folder.sub(records), records, "export", damaged):
        expected += _files_of(sidecar, path, f"{records}/{stem}.json", "export", sidecar.shard)
    folder, record = run.folder.sub(path), f"{path}/{MANIFEST}"
    manifest = Manifest.read(folder)
    if manifest is None:
        exported = run_products(run).get("export", {})
        if folder.exists(MANIFEST):
            damaged.append(Damage(record, CHANGED, "export", record=record))
        elif exported.get("current") and exported.get("folder") == path:
            damaged.append(Damage(record, MISSING, "export"))
        return
    for number, shard in enumerate(manifest.values.get("shards", ())):
        if not run.folder.exists(own := f"{records}/{shard_name(number)}.json"):
            damaged.append(Damage(own, MISSING, "export", number, shard["rows"]))
            for file, sum_ in ((shard["tar"], "sha256"), (shard["parquet"], "parquet_sha256")):
                place = f"{path}/{file}"
                expected.append(
                    _File(place, None, shard[sum_], "export", number, shard["rows"], record)
                )
    for file, sum_ in manifest.values.get("files", {}).items():
        expected.append(_File(f"{path}/{file}", None, sum_, "export", None, None, record))
