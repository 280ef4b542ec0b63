"""Writes tars member by member: plain ustar without times, so equal content has equal bytes.

In the tars of pictures that were fetched each member's header also holds its checksum, in the field
for the owner's name: so that of a damaged tar the other pictures can be kept (`whole_members`).
"""

import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import BinaryIO

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


def whole_members(path: Path, rows: Sequence[int] = ()) -> Iterator[Member]:
    """Those members of a damaged tar that have their checksums.

    `rows` are those that the tar held, in order. Behind a damaged header the next one is looked
    for: a block that is the header of a later row, from which the members of all rows after it
    follow to the end of the tar. Bytes in a picture that look like members cannot be that, because
    the members that do follow it are not those of the rows after theirs. Without `rows`, or where
    there is no such block, nothing after the first damaged header is read.
    """
    end, place, passed = path.stat().st_size, 0, 0
    with path.open("rb") as handle:
        while place < end:
            if (info := _header(handle, place)) is None:
                found = _header_after(handle, place, end, rows[passed:])
                if found is None:
                    return
                place, rows = found, ()
                continue
            data = handle.read(info.size)
            if len(data) == info.size and info.uname == _sum(data):
                yield info.name, data
            passed += passed < len(rows) and info.name == _name_of(rows[passed])
            place = _behind(place, info)


def _header(handle: BinaryIO, place: int) -> tarfile.TarInfo | None:
    """The header at this place, and the handle behind it; None if there is none that has its
    checksum."""
    handle.seek(place)
    try:
        return tarfile.TarInfo.frombuf(handle.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def _behind(place: int, info: tarfile.TarInfo) -> int:
    """The place of the header after this one."""
    return place + tarfile.BLOCKSIZE + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _header_after(handle: BinaryIO, place: int, end: int, rows: Sequence[int]) -> int | None:
    """The place of the first header behind a damaged one at `place`, which was that of `rows[0]`
    or of a row after it; see `whole_members`."""
    following = {_name_of(row).encode(): number for number, row in enumerate(rows) if number}
    width = len(next(iter(following), b""))
    for start in range(place + tarfile.BLOCKSIZE, end if following else 0, tarfile.BLOCKSIZE):
        handle.seek(start)
        number = following.get(handle.read(width))
        if number is not None and _leads_to_end(handle, start, end, rows[number:]):
            return start
    return None


def _leads_to_end(handle: BinaryIO, place: int, end: int, rows: Sequence[int]) -> bool:
    """Whether members of exactly these rows follow from here on, and then nothing."""
    for row in rows:
        info = _header(handle, place)
        if info is None or info.name != _name_of(row):
            return False
        place = _behind(place, info)
    handle.seek(place)
    return place < end and not any(handle.read())


def _sum(data: bytes) -> str:
    return f"crc32:{zlib.crc32(data):08x}"


def _name_of(row: int) -> str:
    return f"{row:06d}.jpg"


def row_of(name: str) -> int:
    """The row of a download tar's member, `{row:06d}.jpg`."""
    return int(name.split(".")[0])


def merge_rows(old: Path, new: Path, rows: Iterable[int], target: Path) -> None:
    """`old` with the members of `rows` replaced by those of `new`, in row order."""
    replaced = set(rows)
    kept = (member for member in members(old) if row_of(member[0]) not in replaced)
    both = merge(kept, members(new), key=lambda member: row_of(member[0]))
    write_tar(target, both, sums=True)
