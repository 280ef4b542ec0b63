"""What an erasure has to touch, written down before it touches anything.

Half an erasure cannot tell any more which parts stood before it; so that is noted first, and a
killed one goes on by its note.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.erasing.find import numbers
from pipeline.freshness import SHARD, Due, why_stale
from pipeline.layouts.registry import unowned
from pipeline.merging import is_of_whole
from pipeline.run import Run
from pipeline.storage import Folder
from pipeline.table import Sidecar, part_folder, read_sidecar, shard_name

NAME = "forgetting.json"
EXPORT = "export-"
SHOWN = 5


@dataclass(frozen=True)
class Part:
    """A shard's part: the rows to empty, and whether it stood on today's shard and parts.

    `asked` are the folders of the parts that its masks were read from, by stage.
    """

    rows: list[int]
    stood: bool
    asked: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """The shards, parts and exports that hold rows of these uids."""

    uids: list[str]
    shards: dict[str, list[int]] = field(default_factory=dict)
    """Rows by the shard's name."""
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)
    """By folder, each after those it stands on, and by the shard's name."""
    whole: list[str] = field(default_factory=list)
    """Folders of whole stages: every row weighs in each of their parts, so they are made anew."""
    torn: list[str] = field(default_factory=list)
    """Files that no sidecar vouches for."""
    exports: dict[str, list[int]] = field(default_factory=dict)
    """Shards by the export's name."""
    manifests: dict[str, Any] = field(default_factory=dict)
    unowned: list[str] = field(default_factory=list)
    """Files in exports' folders that no layout knows: they stay as they are."""

    @property
    def notes(self) -> list[str]:
        """What the erasure cannot see to, in words."""
        if not self.unowned:
            return []
        shown = ", ".join(self.unowned[:SHOWN]) + (", …" if len(self.unowned) > SHOWN else "")
        them = "it" if len(self.unowned) == 1 else "each"
        return [
            f"left as they are, for no layout knows how to take rows out of them: {shown} "
            f"({len(self.unowned):,}); look whether {them} holds the rows, and remove it"
        ]

    @property
    def takes_something(self) -> bool:
        return bool(self.shards or self.parts or self.exports)

    @classmethod
    def read(cls, run: Run) -> "Journal | None":
        try:
            values = json.loads(run.folder.read(NAME))
        except FileNotFoundError:
            return None
        parts = {
            folder: {name: Part(**part) for name, part in found.items()}
            for folder, found in values.pop("parts").items()
        }
        return cls(parts=parts, **values)

    def write(self, run: Run) -> None:
        run.folder.write(NAME, json.dumps(asdict(self)).encode())


def plan_erasure(run: Run, uids: Sequence[str]) -> Journal:
    """Look for the rows in every file that may hold them. Changes nothing."""
    journal = Journal(sorted(uids))
    wanted = pa.array(journal.uids, pa.string())
    for shard in range(len(run.index or ())):
        if rows := rows_of(run.folder, f"shards/{shard_name(shard)}.parquet", wanted):
            journal.shards[shard_name(shard)] = rows
    folders = [name for name in run.folder.names("parts") if not name.startswith(EXPORT)]
    for name in _in_order(run, folders):
        _plan_folder(run, f"parts/{name}", wanted, journal)
    for name in run.folder.names("export"):
        _plan_export(run, name, wanted, journal)
    if journal.uids:
        exports = run.folder.files("export")
        journal.unowned.extend(
            f"export/{file}" for file in exports if unowned([file.partition("/")[2]])
        )
    return journal


def _plan_export(run: Run, name: str, wanted: pa.Array, journal: Journal) -> None:
    folder = run.folder.sub(f"export/{name}")
    names, torn = folder.files(), set()
    if "manifest.json" not in names:
        # Stopped while it was written: a table may lie beside another's tar.
        torn = _unvouched(folder, names, run.folder.sub(f"parts/{EXPORT}{name}"))
        journal.torn.extend(f"export/{name}/{file}" for file in sorted(torn))
    whole = [file for file in names if file not in torn]
    touched = [n for n in numbers(whole) if _is_in_export(folder, n, wanted)]
    if touched:
        journal.exports[name] = touched
        if "manifest.json" in names:
            journal.manifests[name] = json.loads(folder.read("manifest.json"))


def _unvouched(folder: Folder, names: Sequence[str], sidecars: Folder) -> set[str]:
    """Files of an unfinished export that no sidecar vouches for; it is written again anyway."""
    read = (
        read_sidecar(sidecars, shard_name(number), data=folder)
        for number in numbers(sidecars.names(), ".json")
    )
    vouched = {file for sidecar in read if sidecar is not None for file in sidecar.files}
    strange = {"README.md", *unowned(names)}
    return {name for name in names if name not in vouched and name not in strange}


def _plan_folder(run: Run, path: str, wanted: pa.Array, journal: Journal) -> None:
    folder, index = run.folder.sub(path), run.index
    names = folder.names()
    if any(is_of_whole(name) for name in names):
        journal.whole.append(path)
        return
    vouched = {"recipe.json"}
    for number in numbers(names, ".json"):
        name = shard_name(number)
        sidecar = read_sidecar(folder, name)
        if sidecar is None:
            continue
        vouched.update((f"{name}.json", *sidecar.files))
        if rows := rows_of(folder, f"{name}.parquet", wanted):
            shard = index.shards[number][1] if index and number < len(index) else None
            inputs = part_inputs(run, upstream_of(run, path), name, shard)
            # Rows that a policy of another day let in or kept out are looked at by the next run.
            stood = (
                inputs is not None
                and why_stale(sidecar, Due(sidecar.fingerprint, inputs, sidecar.policy)) is None
            )
            part = Part(rows, stood, _asked(run, sidecar, name))
            journal.parts.setdefault(path, {})[name] = part
    journal.torn.extend(f"{path}/{n}" for n in names if n not in vouched)


def rows_of(folder: Folder, name: str, uids: pa.Array) -> list[int]:
    """Places of these uids (sorted) in a parquet file; a look at its footer often is enough."""
    if len(uids) == 0:
        return []
    with folder.local(name) as path, pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("uid")
        low, high = uids[0].as_py(), uids[-1].as_py()
        groups = [file.metadata.row_group(i).column(column) for i in range(file.num_row_groups)]
        known = [group.statistics for group in groups]
        if known and all(
            s is not None and s.has_min_max and (s.max < low or s.min > high) for s in known
        ):
            return []
        found = pc.is_in(file.read(["uid"])["uid"], value_set=uids)
    return [int(row) for row in np.flatnonzero(found.to_numpy(zero_copy_only=False))]


def _is_in_export(folder: Folder, number: int, uids: pa.Array) -> bool:
    """Whether an export's shard holds such a row, or one whose group such a row leads."""
    name = f"{shard_name(number)}.parquet"
    if rows_of(folder, name, uids):
        return True
    with folder.local(name) as path:
        if "dup_group" not in pq.read_schema(path).names:
            return False
        groups = pq.read_table(path, columns=["dup_group"])["dup_group"]
    return bool(pc.any(pc.is_in(groups, value_set=uids)).as_py())


def upstream_of(run: Run, path: str) -> dict[str, str]:
    """The part folders that a folder's stage stands on, by stage; {} without a recipe."""
    try:
        recipe = json.loads(run.folder.read(f"{path}/recipe.json"))
    except (FileNotFoundError, ValueError):
        return {}
    return {stage: part_folder(stage, print_) for stage, print_ in recipe["upstream"].items()}


def _in_order(run: Run, folders: Sequence[str]) -> list[str]:
    """The folders, each after those that its stage stands on."""
    above = {name: set(upstream_of(run, f"parts/{name}").values()) for name in folders}

    def depth(name: str) -> int:
        below = [path.removeprefix("parts/") for path in above.get(name, ())]
        return 1 + max(map(depth, below), default=0)

    return sorted(folders, key=lambda name: (depth(name), name))


def _asked(run: Run, sidecar: Sidecar, name: str) -> dict[str, str]:
    """Where the parts lie that said which rows this one was to measure."""
    found = {}
    for stage, digest in (sidecar.policy or {}).get("asked", {}).items():
        for folder in run.folder.names("parts"):
            if folder.rsplit("-", 1)[0] == stage:
                asked = read_sidecar(run.folder.sub(f"parts/{folder}"), name)
                if asked is not None and asked.digest == digest:
                    found[stage] = f"parts/{folder}"
    return found


def part_inputs(
    run: Run, folders: Mapping[str, str], name: str, shard: str | None
) -> dict[str, str] | None:
    """What a shard's part would be made from today: the digests of the shard and of its parts.

    `folders` are those of the stages it is made from, `shard` is the digest of its rows. None if
    one of them is not there.
    """
    found = {stage: read_sidecar(run.folder.sub(path), name) for stage, path in folders.items()}
    known = {stage: sidecar.digest for stage, sidecar in found.items() if sidecar is not None}
    return {SHARD: shard, **known} if shard is not None and len(known) == len(found) else None
