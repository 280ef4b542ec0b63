"""Reads a picture's EXIF orientation and colour profile, with a limit on their size.

They are read here and not by the decoders, which inflate everything a file contains: a text chunk
of a few kilobytes can inflate to gigabytes. Text is never inflated, and is removed before decoding.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.fetch.picture.png import plain_png
from pipeline.fetch.picture.sniff import jpeg_segments, png_chunks
from pipeline.words.oddities import EXIF_BROKEN, PROFILE_BROKEN

ORIENTATION = 0x0112


class MetadataOversizeError(ValueError):
    """An EXIF block or colour profile is beyond the cap."""


@dataclass(frozen=True)
class Metadata:
    """EXIF orientation (CIPA DC-008, tag 274), 1–8, and the ICC profile, if there is one.

    `bare` is the picture without what was read here and without its text.
    """

    bare: bytes
    orientation: int = 1
    profile: bytes | None = None
    odd: frozenset[str] = frozenset()
    """What is wrong with it: words of `words/oddities`."""


def read_metadata(data: bytes, form: str, cap: int) -> Metadata:
    """Metadata of a JPEG, PNG or WebP; of other formats none.

    Broken metadata counts as none: it says nothing about the pixels. Raises MetadataOversizeError
    beyond `cap` bytes, inflated; ValueError for a PNG of more than 100,000 chunks.
    """
    if form == "jpeg":
        return _of_jpeg(data, cap)
    if form == "png":
        return _of_png(data, cap)
    if form == "webp":
        return _of_webp(data, cap)
    return Metadata(data)


def check_size(what: str, size: int, cap: int) -> None:
    if size > cap:
        raise MetadataOversizeError(f"{what} of more than {cap} bytes")


def _of_jpeg(data: bytes, cap: int) -> Metadata:
    orientation, pieces, total, exif = 1, {}, 0, 0
    odd: set[str] = set()
    for marker, start, stop in jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            check_size("EXIF", exif + stop - start, cap)
            if not exif:  # of several blocks browsers read the first
                orientation = _orientation(data[start + 6 : stop], odd)
            exif += stop - start
        elif marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0" and stop - start > 14:
            # ICC.1:2022 B.4: a profile in pieces, each with its number.
            total += stop - start - 14
            check_size("a colour profile", total, cap)
            pieces[data[start + 12]] = data[start + 14 : stop]
    profile = b"".join(pieces[number] for number in sorted(pieces)) or None
    return Metadata(data, orientation, profile, frozenset(odd))


def _of_png(data: bytes, cap: int) -> Metadata:
    orientation, profile = 1, None
    odd: set[str] = set()
    bare = plain_png(data, odd)
    for name, start, stop in png_chunks(data):
        if name == b"eXIf":
            check_size("EXIF", stop - start, cap)
            orientation = _orientation(data[start:stop], odd)
        elif name == b"iCCP" and _is_whole(data, start, stop):
            profile = _inflate_profile(data[start:stop], cap)
            if profile is None:
                odd.add(PROFILE_BROKEN)
        elif name == b"IEND":
            break
    return Metadata(bare, orientation, profile, frozenset(odd))


def _is_whole(data: bytes, start: int, stop: int) -> bool:
    """Whether a PNG chunk's checksum is right."""
    return zlib.crc32(data[start - 4 : stop]).to_bytes(4, "big") == data[stop : stop + 4]


def _orientation(tiff: bytes, odd: set[str]) -> int:
    if is_exif_broken(tiff):
        odd.add(EXIF_BROKEN)
    return exif_orientation(tiff)


def _inflate_profile(body: bytes, cap: int) -> bytes | None:
    """An iCCP chunk's profile (PNG, 11.3.3.3): name, NUL, method 0, zlib."""
    name, _, rest = body.partition(b"\0")
    if len(name) > 79 or rest[:1] != b"\0":
        return None
    try:
        profile = zlib.decompressobj().decompress(rest[1:], cap + 1)
    except zlib.error:
        return None
    check_size("a colour profile", len(profile), cap)
    return profile


def _of_webp(data: bytes, cap: int) -> Metadata:
    orientation, profile = 1, None
    odd: set[str] = set()
    for name, start, stop in webp_chunks(data):
        if name == b"EXIF":
            check_size("EXIF", stop - start, cap)
            orientation = _orientation(data[start:stop].removeprefix(b"Exif\0\0"), odd)
        elif name == b"ICCP":
            check_size("a colour profile", stop - start, cap)
            profile = data[start:stop]
    return Metadata(data, orientation, profile, frozenset(odd))


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk's body, up to the end of the file."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start = at + 8
        yield name, start, min(start + size, len(data))
        at = start + size + (size & 1)


def exif_orientation(tiff: bytes) -> int:
    """Orientation from the first directory of an EXIF block (TIFF 6.0, section 2); 1 if none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag == ORIENTATION:
            (value,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
            return value if kind == 3 and count == 1 and 1 <= value <= 8 else 1
    return 1


def is_exif_broken(tiff: bytes) -> bool:
    """Whether an EXIF block has no first directory that could be read."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return True
    at = int.from_bytes(tiff[4:8], order)  # type: ignore[arg-type]
    if at + 2 > len(tiff):
        return True
    return at + 2 + 12 * int.from_bytes(tiff[at : at + 2], order) > len(tiff)  # type: ignore[arg-type]
