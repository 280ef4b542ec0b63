"""`winnow verify`: compares every file of a run with its checksum, and finds the damaged ones."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pipeline.engine.erase.parts import EXPORT
from pipeline.engine.merging import PREPARED
from pipeline.engine.singles import registered
from pipeline.export.finish import MANIFEST, OTHERS, Manifest
from pipeline.ingest.restore import cut_shards, damaged_shards
from pipeline.lifecycle.damaged import (
    NO_RECORD,
    Damage,
    Recorded,
    compare,
    lost_pictures,
)
from pipeline.lifecycle.loose import LOOSE
from pipeline.table.checked import CHANGED, CUT, MISSING
from pipeline.table.part import UNFINISHED, Sidecar, digest_of, shard_name
from pipeline.table.run import Run
from pipeline.table.sealed import unseal
from pipeline.table.storage import Folder
from pipeline.table.tombstones import NAME as TOMBSTONES
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.progress import Reporter
from pipeline.words.sizes import size as size_text
from pipeline.words.threads import worker_threads

RECORDS = ("resolved.json", "state.json", "plan.json", "provenance.json")
INDEX, RECIPE = "shards/index.json", "recipe.json"


def find_all_damage(
    run: Run, reporter: Reporter, *, export_only: bool
) -> tuple[list[Damage], dict[str, int]]:
    """Every damaged file, and how many `files` and `bytes` were compared with a checksum."""
    with run.folder.hold(copies=False):
        return _find(run, reporter, export_only)


def unfinished_exports(run: Run) -> list[str]:
    """Folders of exports without a manifest: nobody takes them for a dataset, and what their shards
    should be is known of those alone that have a record."""
    names = run.folder.names("export")
    return [name for name in names if Manifest.read(run.folder.sub(f"export/{name}")) is None]


def _find(run: Run, reporter: Reporter, export_only: bool) -> tuple[list[Damage], dict[str, int]]:
    walk = _Walk(run)
    if not export_only:
        walk.records()
        walk.shards()
        for name in run.folder.names("parts"):
            if not name.startswith(EXPORT):
                walk.part_folder(name)
        walk.singles()
    for name in run.folder.names("export"):
        walk.export(name)
    files: dict[str, Recorded] = {}
    for each in walk.expected:  # an export's statistics are named by their shard's record first
        files.setdefault(each.name, each)
    compared = {"files": len(files), "bytes": 0}
    reporter.start("verify", len(files), unit="files")
    with ThreadPoolExecutor(worker_threads()) as pool:
        for size, found in pool.map(lambda one: compare(run.folder, one), files.values()):
            compared["bytes"] += size
            reporter.advance("verify", 1, size_text(compared["bytes"]))
            if found is not None:
                walk.damaged.append(found)
    damaged = {one.file: one for one in walk.damaged}
    for file, one in damaged.items():
        table = f"{file.removesuffix('.tar')}.parquet"
        if one.product == "download" and file.endswith(".tar") and table not in damaged:
            damaged[file] = replace(one, uids=lost_pictures(run.folder, file, table))
    return [damaged[file] for file in sorted(damaged)], compared


def _why_unreadable(folder: Folder, name: str) -> str | None:
    try:
        unseal(folder.read(name))
    except FileNotFoundError:
        return MISSING
    except ValueError:
        return CHANGED
    return None


class _Walk:
    """Collects the files that should be there, and the damage that is seen without reading them."""

    def __init__(self, run: Run) -> None:
        self._run, self._index = run, run.index
        self._products = _products(run)
        self.damaged: list[Damage] = []
        self.expected: list[Recorded] = []

    def records(self) -> None:
        for name in RECORDS:
            if (what := _why_unreadable(self._run.folder, name)) is not None:
                self._note(name, what)
        for name, find in LOOSE.items():
            if (what := find(self._run)) is not None:
                self._note(name, what)
        try:
            tombstones = Tombstones.read(self._run.folder)
            for shard in range(len(self._index or ())):
                with contextlib.suppress(OSError, ValueError):  # a damaged shard is noted as one
                    tombstones.check_covers(self._run.shard(shard, ["uid", "input_error"]), "")
        except (InputError, UnicodeDecodeError):
            self._note(TOMBSTONES, CHANGED)
        except DamagedError:
            self._note(TOMBSTONES, CUT if self._run.folder.exists(TOMBSTONES) else MISSING)

    def shards(self) -> None:
        run, index = self._run, self._index
        if index is None:
            self._note(INDEX, CHANGED if run.folder.exists(INDEX) else MISSING, "ingest")
            return
        cut = cut_shards(run, index)
        for shard in damaged_shards(run, index, range(len(index))):
            file = f"shards/{shard_name(shard)}.parquet"
            what = CUT if run.folder.exists(file) else MISSING
            what = what if shard in cut else CHANGED
            self._note(file, what, "ingest", shard, index.shards[shard][0])

    def part_folder(self, name: str) -> None:
        path, (stage, print_) = f"parts/{name}", name.rsplit("-", 1)
        folder = self._run.folder.sub(path)
        what = _why_unreadable(folder, RECIPE)
        if what is None and digest_of(unseal(folder.read(RECIPE)))[: len(print_)] != print_:
            what = CHANGED
        if what is not None:
            self._note(f"{path}/{RECIPE}", what, stage)
        before = len(self.damaged)
        named: set[str] = set()
        for stem, sidecar in self._sidecars(path, stage):
            key = sidecar.shard if sidecar.shard >= 0 else None
            named.update(sidecar.files)
            self._expect(sidecar, path, f"{path}/{stem}.json", stage, key)
        names = set(folder.names())
        if self._is_current(stage, path) and self._index is not None:
            for shard, (rows, _) in enumerate(self._index.shards):
                if (record := f"{shard_name(shard)}.json") not in names:
                    self._note(f"{path}/{record}", MISSING, stage, shard, rows)
        # A part whose record is damaged is made again as a whole; what a stage over all shards
        # prepared of a shard is only removed.
        noted = {one.file for one in self.damaged[before:] if PREPARED not in one.file}
        for file in sorted(names - named):
            if not file.endswith((".json", ".tmp")) and f"{path}/{_record_of(file)}" not in noted:
                self._note(f"{path}/{file}", NO_RECORD, stage)

    def singles(self) -> None:
        """Products in one piece, those that the last job did not name included."""
        kinds = registered()
        places = {name: kind.place for name, kind in kinds.items()}
        noted = {name: one for name, one in self._products.items() if one["keys"] == "one"}
        for name, path in (
            {name: str(one["folder"]) for name, one in noted.items()} | places
        ).items():
            record = f"{path}/{name}.json" if path else f"{name}.json"
            try:
                sidecar = Sidecar.decode(self._run.folder.read(record), name)
            except FileNotFoundError:
                if noted.get(name, {}).get("current"):
                    self._note(record, MISSING, name)
            except (ValueError, TypeError):
                self._note(record, CHANGED, name)
            else:
                self._expect(sidecar, path, record, name, None)
        for name, kind in kinds.items():
            for file, what in kind.damage(self._run).items():
                self._note(file, what, name)

    def export(self, name: str) -> None:
        path, records = f"export/{name}", f"parts/{EXPORT}{name}"
        there = set(self._run.folder.names(records))
        others = None
        for stem, sidecar in self._sidecars(records, "export"):
            key = sidecar.shard if sidecar.shard >= 0 else None
            self._expect(sidecar, path, f"{records}/{stem}.json", "export", key)
            others = sidecar.digest if stem == OTHERS else others
        folder, record = self._run.folder.sub(path), f"{path}/{MANIFEST}"
        manifest = Manifest.read(folder)
        if manifest is None:
            if folder.exists(MANIFEST):
                self._note(record, CHANGED, "export")
            elif self._is_current("export", path):
                self._note(record, MISSING, "export")
            return
        own = f"{OTHERS}.json"
        if manifest.values.get("files") not in (None, others) and own not in there:
            self._note(f"{records}/{own}", MISSING, "export")
        for number, shard in enumerate(manifest.values.get("shards", ())):
            if (own := f"{shard_name(number)}.json") in there:
                continue
            self._note(f"{records}/{own}", MISSING, "export", number, shard["rows"])
            for file, sum_ in ((shard["tar"], "sha256"), (shard["parquet"], "parquet_sha256")):
                self.expected.append(
                    Recorded(f"{path}/{file}", None, shard[sum_], "export", number, shard["rows"],
                          record)
                )  # fmt: skip

    def _note(
        self, file: str, what: str, product: str | None = None, key: int | None = None,
        rows: int | None = None,
    ) -> None:  # fmt: skip
        self.damaged.append(Damage(file, what, product, key, rows))

    def _is_current(self, name: str, path: str) -> bool:
        """Whether the last run noted a product in this folder as up to date."""
        noted = self._products.get(name, {})
        return bool(noted.get("folder") == path and noted.get("current"))

    def _sidecars(self, path: str, product: str) -> Iterator[tuple[str, Sidecar]]:
        """The valid sidecars of a folder by their names; the others are noted as damage."""
        folder = self._run.folder.sub(path)
        for name in folder.names():
            if not name.endswith(".json") or name == RECIPE:
                continue
            stem, data = name.removesuffix(".json"), folder.read(name)
            if data == UNFINISHED:
                continue
            try:
                yield stem, Sidecar.decode(data, stem)
            except (ValueError, TypeError):
                self._note(f"{path}/{name}", CHANGED, product)

    def _expect(
        self, sidecar: Sidecar, path: str, record: str, product: str, key: int | None
    ) -> None:
        """Have the files of a sidecar compared."""
        for file, sum_ in sidecar.digests.items():
            name, size = f"{path}/{file}" if path else file, sidecar.files.get(file)
            self.expected.append(Recorded(name, size, sum_, product, key, sidecar.rows, record))


def _record_of(file: str) -> str:
    """The sidecar that names a file of this name: `00000.tar` -> `00000.json`."""
    stem = file.rsplit(".", 1)[0]
    number = file.partition(".")[0]
    return f"{number if file.endswith(('.tar', '.npy')) else stem}.json"


def _products(run: Run) -> dict[str, Any]:
    """The products of the last run by name, as `state.json` has them; empty if it is damaged."""
    try:
        products: dict[str, Any] = run.state.get("products", {})
    except DamagedError:
        return {}
    return products
