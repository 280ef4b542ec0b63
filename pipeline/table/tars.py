"""Writes tars member by member: plain ustar without times, so equal content has equal bytes.

In the tars of pictures that were fetched each member's header also holds its checksum, in the field
for the owner's name: so that of a damaged tar the other pictures can be kept (`whole_members`).
"""

import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path

from pipeline.words.heartbeat import beat

Member = tuple[str, bytes]


def members(path: Path) -> Iterator[Member]:
    """Names and bytes, in the tar's order."""
    with tarfile.open(path, "r|") as tar:
        for info in tar:
            handle = tar.extractfile(info)
            if handle is not None:
                beat()
                yield info.name, handle.read()


def write_tar(path: Path, found: Iterable[Member], *, sums: bool = False) -> None:
    """Write the members in their order; with `sums`, each with its checksum."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in found:
            info = tarfile.TarInfo(name)  # mtime, uid and gid stay 0
            info.size = len(data)
            if sums:
                info.uname = _sum(data)
            tar.addfile(info, io.BytesIO(data))


def whole_members(path: Path) -> Iterator[Member]:
    """Those members of a damaged tar that have their checksums, up to the first damaged header.

    What comes after that is not searched: a picture may hold bytes that look like members.
    """
    with path.open("rb") as handle:
        while len(block := handle.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                return
            data = handle.read(info.size)
            handle.seek(-info.size % tarfile.BLOCKSIZE, os.SEEK_CUR)
            if len(data) == info.size and info.uname == _sum(data):
                yield info.name, data


def _sum(data: bytes) -> str:
    return f"crc32:{zlib.crc32(data):08x}"


def row_of(name: str) -> int:
    """The row of a download tar's member, `{row:06d}.jpg`."""
    return int(name.split(".")[0])


def merge_rows(old: Path, new: Path, rows: Iterable[int], target: Path) -> None:
    """`old` with the members of `rows` replaced by those of `new`, in row order."""
    replaced = set(rows)
    kept = (member for member in members(old) if row_of(member[0]) not in replaced)
    both = merge(kept, members(new), key=lambda member: row_of(member[0]))
    write_tar(target, both, sums=True)
