"""Rewrites tars member by member: plain ustar without times, so equal content has equal bytes."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path

Member = tuple[str, bytes]


def members(path: Path) -> Iterator[Member]:
    """Names and bytes, in the tar's order."""
    with tarfile.open(path, "r|") as tar:
        for info in tar:
            handle = tar.extractfile(info)
            if handle is not None:
                yield info.name, handle.read()


def write_tar(path: Path, found: Iterable[Member]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in found:
            info = tarfile.TarInfo(name)  # mtime, uid and gid stay 0
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def row_of(name: str) -> int:
    """The row of a download tar's member, `{row:06d}.jpg`."""
    return int(name.split(".")[0])


def merge_rows(old: Path, new: Path, rows: Iterable[int], target: Path) -> None:
    """`old` with the members of `rows` replaced by those of `new`, in row order."""
    replaced = set(rows)
    kept = (member for member in members(old) if row_of(member[0]) not in replaced)
    write_tar(target, merge(kept, members(new), key=lambda member: row_of(member[0])))
