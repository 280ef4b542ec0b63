"""What a process knows of the checksums of parts on an object store, by the part's digest.

The digest covers the checksums (`digest_of`), so that they cannot be outdated. Tasks give them to
the driver with their result, and the driver to the tasks that read the part: no sidecar is read.
The sidecar itself goes to the driver in the same way, which reads them all at the end of a run.
"""

import zlib
from collections.abc import Mapping

from pipeline.table.recent import recent

KEPT = 100_000
"""Parts of which a process remembers the checksums."""
_known: dict[str, Mapping[str, str]] = {}
_records: dict[str, "Record"] = {}
Record = tuple[str, str, bytes]
"""A sidecar: its path on the store, its version, and its bytes, compressed."""
LARGEST = 1_000
"""Bytes of the largest that goes with a result."""


def note_sums(digest: str, sums: Mapping[str, str]) -> None:
    """Remember the sha256 of a part's files, by name."""
    if len(_known) >= KEPT:
        _known.clear()
    _known[digest] = sums


def known_sums(digest: str) -> Mapping[str, str] | None:
    return _known.get(digest)


def to_tell(digests: Mapping[str, str]) -> dict[str, str]:
    """Digests by stage, and the checksums of these parts as far as they are known: `stage/file`."""
    found = dict(digests)
    for stage, digest in digests.items():
        found |= {f"{stage}/{file}": sum_ for file, sum_ in _known.get(digest, {}).items()}
    return found


def note_told(told: Mapping[str, str]) -> None:
    """Remember what `to_tell` gave."""
    found: dict[str, dict[str, str]] = {}
    for name, sum_ in told.items():
        stage, is_file, file = name.partition("/")
        if is_file and stage in told:
            found.setdefault(told[stage], {})[file] = sum_
    for digest, sums in found.items():
        note_sums(digest, sums)


def note_record(digest: str, path: str, version: str | None, data: bytes) -> None:
    """Keep a part's sidecar for the result of the task, if it is small and the store told its
    version."""
    packed = zlib.compress(data)
    if version is not None and len(packed) <= LARGEST:
        if len(_records) >= KEPT:
            _records.clear()
        _records[digest] = (path, version, packed)


def known_record(digest: str) -> Record | None:
    return _records.get(digest)


def note_records(records: Mapping[str, Record]) -> None:
    """Have the sidecars that came with a result read without a request."""
    for path, version, packed in records.values():
        recent.add(("version", path, version), zlib.decompress(packed))
