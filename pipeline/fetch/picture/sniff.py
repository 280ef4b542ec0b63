"""Reads a picture's format and size from its first bytes, before anything decodes it."""

from collections.abc import Iterator
from dataclasses import dataclass

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 100_000
_MAX_BLOCKS = 10_000
_FARTHEST = 16_384
"""Pixels up to which a GIF's first frame may lie beyond its screen, which then grows."""
# Start-of-frame markers, ITU T.81 table B.1; C4, C8 and CC are no frames.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Sniffed:
    """A picture's format (`jpeg`, `png`, `webp`, `gif`, `avif`) and its size in pixels as stored.

    The size is (0, 0) where the header is cut short or broken. `components` are a JPEG's.
    """

    format: str
    width: int
    height: int
    components: int = 0


def sniff(data: bytes) -> Sniffed | None:
    """Format and size from the header bytes; None for anything but the five formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return Sniffed("jpeg", *_jpeg_frame(data))
    if data.startswith(PNG_MAGIC):
        known = len(data) >= 24 and data[12:16] == b"IHDR"
        return Sniffed("png", *(_big(data, 16, 4) if known else (0, 0)))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Sniffed("gif", *_gif_size(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Sniffed("webp", *_webp_size(data))
    if _is_avif(data):
        return Sniffed("avif", *_avif_size(data))
    return None


def looks_like(data: bytes) -> str:
    """What bytes that are not one of our formats seem to be, in words for error messages."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "no bytes at all"
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "an SVG"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<!--", b"<body", b"<script")):
        return "an HTML page"
    if data[4:8] == b"ftyp":
        return f"an ISO media file ({data[8:12].decode('ascii', 'replace')})"
    for magic, name in (
        (b"BM", "a BMP"), (b"II*\0", "a TIFF"), (b"MM\0*", "a TIFF"), (b"%PDF", "a PDF"),
        (b"\0\0\1\0", "an ICO"), (b"\x1f\x8b", "gzip"), (b"{", "JSON"), (b"<", "XML"),
    ):  # fmt: skip
        if data.startswith(magic):
            return name
    return "text" if head.isascii() and b"\0" not in head else "unknown bytes"


def _big(data: bytes, at: int, size: int) -> tuple[int, int]:
    middle, end = at + size, at + 2 * size
    return int.from_bytes(data[at:middle], "big"), int.from_bytes(data[middle:end], "big")


def _little(data: bytes, at: int, size: int) -> tuple[int, int]:
    middle, end = at + size, at + 2 * size
    return int.from_bytes(data[at:middle], "little"), int.from_bytes(data[middle:end], "little")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment before the picture's data (ITU T.81, B.1.1).

    Bytes between segments are passed over, and a length of less than 2 counts as 2, as in libjpeg.
    """
    at = 2
    while 0 <= at <= len(data) - 4:
        marker = data[at + 1]
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
        elif marker == 0xFF:  # fill byte
            at += 1
        elif marker in _BARE or marker == 0:
            at += 2
        elif marker in (0xD8, 0xD9, 0xDA):  # a picture's start, end or data
            return
        else:
            length = max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            yield marker, at + 4, min(at + 2 + length, len(data))
            at += 2 + length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk's body, up to the end of the file."""
    at = len(PNG_MAGIC)
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            return
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, min(at + 8 + size, len(data))
        at += 12 + size
    raise ValueError(f"more than {_MAX_CHUNKS} chunks")


def _jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Width, height and components."""
    for marker, start, stop in jpeg_segments(data):
        if marker in _FRAMES:
            if stop - start < 6:
                break
            height, width = _big(data, start + 1, 2)
            return width, height, data[start + 5]
    return 0, 0, 0


def _gif_size(data: bytes) -> tuple[int, int]:
    """The logical screen's size (GIF89a, 18), or what its first frame covers where that is more, as
    browsers have it."""
    width, height = _little(data, 6, 2) if len(data) >= 10 else (0, 0)
    for block, at in gif_blocks(data):
        if block == 0x2C and at + 9 <= len(data):
            (left, top), (wide, high) = _little(data, at, 2), _little(data, at + 4, 2)
            if max(left + wide, top + high) <= _FARTHEST and min(wide, high) > 0:
                return max(width, left + wide), max(height, top + high)
            break
    return width, height


def gif_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Each block's kind (an image 0x2C, an extension 0x21, the trailer 0x3B) and the place after
    that byte (GIF89a, 12–27); 10,000 at most. Bytes between blocks are passed over."""
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    for _ in range(_MAX_BLOCKS):
        if at >= len(data):
            return
        kind = data[at]
        at += 1
        if kind not in (0x21, 0x2C, 0x3B):
            continue
        yield kind, at
        if kind == 0x3B:
            return
        if kind == 0x21:
            at += 1
        elif at + 9 <= len(data):
            flags = data[at + 8]
            at += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1


def _is_avif(data: bytes) -> bool:
    """An ISO base media file whose brands name AVIF (AV1 Image File Format, section 6)."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brands[i : i + 4] == b"avif" for i in range(0, len(brands), 4) if i != 4)


def _avif_size(data: bytes) -> tuple[int, int]:
    """The greatest of the sizes (`ispe`) that the `meta` box gives to its items.

    That is the whole picture's: tiles of a grid, thumbnails and alpha planes are no larger.
    """
    sizes = [(0, 0)]
    for name, start, stop in boxes(data, 0, len(data)):
        if name == b"meta":
            for inner, inner_start, inner_stop in boxes(data, start + 4, stop):
                if inner == b"iprp":
                    sizes += _extents(data, inner_start, inner_stop)
    return max(sizes, key=lambda size: size[0] * size[1])


def _extents(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for name, at, end in boxes(data, start, stop):
        if name == b"ipco":
            for inner, inner_at, inner_end in boxes(data, at, end):
                if inner == b"ispe" and inner_end - inner_at >= 12:
                    yield _big(data, inner_at + 4, 4)


def boxes(data: bytes, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the boxes' contents (ISO/IEC 14496-12, 4.2); a thousand at most."""
    for _ in range(1_000):
        if at + 8 > stop:
            return
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = stop - at
        if size < head:
            return
        yield data[at + 4 : at + 8], at + head, min(at + size, stop)
        at += size


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        width, height = _little(data, 24, 3)
        return width + 1, height + 1
    if kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30 and data[23:26] == b"\x9d\x01\x2a":
        width, height = _little(data, 26, 2)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
