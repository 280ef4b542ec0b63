"""The files of the sample table, and how a part is committed.

A shard is a fixed set of rows, `shards/00000.parquet`. A stage writes one part per shard,
`parts/<stage>-<fp>/00000.parquet` with a column `uid` and its own columns, in the shard's order,
and for some stages companion files (`00000.tar`, `00000.img.npy`). The sidecar `00000.json` is
written last: a part is done only if it has a sidecar that matches its files.
"""

import base64
import hashlib
import json
import resource
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.table.parquet import ROW_GROUP, write_parquet
from pipeline.table.sealed import seal, unseal
from pipeline.table.storage import Folder
from pipeline.table.sums import known_sums, note_record, note_sums
from pipeline.words.heartbeat import beat

ASIDE = ".next"
"""Suffix of the folder in which a new part is kept until all its files are written."""
UNFINISHED = b'{"unfinished": true}'  # in place of a sidecar: its part is being written
READERS = 16
"""Sidecars that are read at once from an object store."""
PATCHES_KEPT = 16
"""Number of latest changes that a part's sidecar lists, for stages that read the part before."""


@dataclass(frozen=True)
class Sidecar:
    """The record of a committed part. `digest` covers the bytes of all its files."""

    stage: str
    fingerprint: str
    shard: int
    rows: int
    inputs: dict[str, str]
    """What it was made from: the digest of its shard's rows (`shards`) and of each part it read."""
    digest: str
    files: dict[str, int]
    """Bytes of each file, by name."""
    digests: dict[str, str]
    """sha256 of each file, by name."""
    seconds: float
    peak_memory_mb: float
    summary: dict[str, Any] = field(default_factory=dict)
    asked: str | None = None
    """Rows that the stage was asked to measure, as `pack_rows` writes them; None: all."""
    policy: dict[str, Any] | None = None
    """The settings that decided which rows those are; see `freshness.Expected`."""
    versions: dict[str, str] = field(default_factory=dict)
    """What an object store calls the files' versions, by name; none on a local disk."""
    patches: list[dict[str, Any]] = field(default_factory=list)
    """The latest changes of the part, oldest first: `base`, the digest before the change, and
    `rows`, the row numbers in the shard whose cells changed."""
    killed: dict[str, str] = field(default_factory=dict)
    """Rows, by number, on which the process that measured them died, and what it died of."""

    def encode(self) -> bytes:
        values = asdict(self)
        if not self.versions:
            del values["versions"]
        return seal(dict(sorted(values.items())))

    @classmethod
    def decode(cls, data: bytes, name: str) -> "Sidecar":
        """The record of the part `name`. ValueError or TypeError if it was cut, changed, or is
        that of another shard."""
        sidecar = cls(**unseal(data))
        number = name.partition(".")[0]
        if number.isdecimal() and int(number) != sidecar.shard:
            raise ValueError(f"the record of shard {sidecar.shard}")
        if sidecar.digests and sidecar.digest != part_digest(sidecar.digests, sidecar.killed):
            raise ValueError("the digest does not fit those of the files")
        return sidecar

    def changed_since(self, digest: str) -> list[int] | None:
        """Rows that differ from the part of that digest; None if that digest is not listed."""
        if digest == self.digest:
            return []
        rows: set[int] = set()
        for patch in reversed(self.patches):
            rows.update(patch["rows"])
            if patch["base"] == digest:
                return sorted(rows)
        return None


def pack_rows(rows: npt.NDArray[np.bool_]) -> str | None:
    """Marks of rows as text, one bit per row; None if all are marked."""
    if rows.all():
        return None
    return base64.b64encode(zlib.compress(np.packbits(rows).tobytes())).decode()


def unpack_rows(text: str | None, count: int) -> npt.NDArray[np.bool_]:
    """The marks that `pack_rows` wrote; bool, shape (count,)."""
    if text is None:
        return np.ones(count, bool)
    packed = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)


def digest_of(values: Any) -> str:
    """sha256, hex, over the canonical JSON of a value."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def part_digest(digests: Mapping[str, str], killed: Mapping[str, str]) -> str:
    """The digest of a part: over its files, and over which rows have killed their process."""
    return digest_of([digests, sorted(killed)] if killed else digests)


def file_digest(path: Path) -> str:
    """sha256, hex, over a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
            beat()
    return digest.hexdigest()


def shard_name(shard: int) -> str:
    return f"{shard:05d}"


def part_folder(stage: str, fingerprint: str) -> str:
    return f"parts/{stage}-{fingerprint[:12]}"


def commit(
    folder: Folder,
    name: str,
    shard: int,
    tables: Mapping[str, pa.Table],
    files: Mapping[str, Path],
    *,
    stage: str,
    fingerprint: str,
    inputs: Mapping[str, str],
    rows: int,
    seconds: float,
    peak_memory_mb: float | None = None,
    summary: Mapping[str, Any] | None = None,
    asked: str | None = None,
    policy: Mapping[str, Any] | None = None,
    patches: Sequence[Mapping[str, Any]] = (),
    killed: Mapping[str, str] | None = None,
    data: Folder | None = None,
    aside: bool = False,
    row_group: int = ROW_GROUP,
) -> Sidecar:
    """Write tables and companion files by name, and the sidecar `name.json` last.

    `files` are moved into the folder `data`, by default that of the sidecar. The old sidecar is
    made invalid first, so that it is never seen with new data. `peak_memory_mb` is by default that
    of this process so far. With `aside` the old part stays until the new one is complete: the new
    one is written into another folder, then replaces the old one.
    """
    if aside:
        assert data is None, "`aside` needs the files and the sidecar in one folder"
        folder.remove(_aside(name))
        data = folder.sub(_aside(name))
    else:
        unfinish(folder, name)
    data = data or folder
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for target, table in tables.items():
        with data.create(target) as path:
            write_parquet(table, path, row_group)
            digests[target], sizes[target] = file_digest(path), path.stat().st_size
            data.remember(path, digests[target])
    for target, source in files.items():
        digests[target], sizes[target] = file_digest(source), source.stat().st_size
        data.remember(source, digests[target])
        data.put(source, target)
    sidecar = Sidecar(
        stage=stage,
        fingerprint=fingerprint,
        shard=shard,
        rows=rows,
        inputs=dict(inputs),
        digest=part_digest(digests, killed or {}),
        files=sizes,
        digests=digests,
        seconds=round(seconds, 3),
        peak_memory_mb=round(peak_memory() if peak_memory_mb is None else peak_memory_mb, 1),
        summary=dict(summary or {}),
        asked=asked,
        policy=dict(policy) if policy else None,
        versions={} if aside else versions_of(data, sizes),
        patches=[dict(patch) for patch in patches[-PATCHES_KEPT:]],
        killed=dict(killed or {}),
    )
    if not folder.is_local:
        note_sums(sidecar.digest, sidecar.digests)
    if aside:
        data.write(f"{name}.json", sidecar.encode())
        settle(folder, name)
        return sidecar
    record = f"{name}.json"
    folder.write(record, encoded := sidecar.encode())
    if not folder.is_local:
        note_record(sidecar.digest, folder.path(record), folder.version(record), encoded)
    return sidecar


def versions_of(folder: Folder, names: Iterable[str]) -> dict[str, str]:
    """What an object store calls these files' versions, where that is known."""
    found = {name: folder.version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def unfinish(folder: Folder, name: str) -> None:
    """Make a part's sidecar invalid before its files change: remove it, or, on an object store,
    replace the one that was seen, because a removal cannot be refused to a late writer."""
    if folder.is_local or folder.version(f"{name}.json") is None:
        folder.remove(f"{name}.json")
    else:
        folder.write(f"{name}.json", UNFINISHED)


def peak_memory() -> float:
    """Peak resident memory of this process so far, MB (Linux gives kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _aside(name: str) -> str:
    return f"{name}{ASIDE}"


def settle(folder: Folder, name: str) -> None:
    """Move a part that was written aside into its place, or remove it if it is incomplete.

    If this is killed, it can be repeated: files that were already moved are skipped.
    """
    aside = folder.sub(_aside(name))
    try:
        sidecar = Sidecar.decode(aside.read(f"{name}.json"), name)
    except (FileNotFoundError, ValueError, TypeError):
        folder.remove(_aside(name))
        return
    unfinish(folder, name)
    for target in sidecar.files:
        if aside.exists(target):
            folder.rename(f"{_aside(name)}/{target}", target)
    sidecar = replace(sidecar, versions=versions_of(folder, sidecar.files))
    folder.write(f"{name}.json", sidecar.encode())
    folder.remove(_aside(name))


def read_sidecar(folder: Folder, name: str, *, data: Folder | None = None) -> Sidecar | None:
    """The sidecar, or None if it is missing or broken or a file does not have its size."""
    sidecar, data = recorded(folder, name), data or folder
    if sidecar is None or any(data.size(target) != size for target, size in sidecar.files.items()):
        return None
    if not folder.is_local:
        note_sums(sidecar.digest, sidecar.digests)
    return sidecar


def recorded(folder: Folder, name: str) -> Sidecar | None:
    """The sidecar, whether or not its files have their sizes; None without a valid one."""
    try:
        return Sidecar.decode(folder.read(f"{name}.json"), name)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def recorded_sums(folder: Folder, name: str, digest: str | None = None) -> Mapping[str, str]:
    """sha256 of a part's files as its sidecar has them, by name; empty without a valid one.

    Of a part of which this process knows the `digest`, no file is read.
    """
    if digest is not None and (known := known_sums(digest)) is not None:
        return known
    record = recorded(folder, name)
    return record.digests if record is not None else {}


def read_sidecars(
    folder: Folder, names: Iterable[str], *, data: Folder | None = None
) -> list[Sidecar | None]:
    """`read_sidecar` of each; in threads where each costs a round trip to an object store."""
    if folder.is_local:
        return [read_sidecar(folder, name, data=data) for name in names]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda name: read_sidecar(folder, name, data=data), names))
