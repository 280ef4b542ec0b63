"""What the first bytes of a picture say: its format and size, before anything decodes it."""

from dataclasses import dataclass

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers, ITU T.81 table B.1; C4, C8 and CC are no frames.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Sniffed:
    """A picture's format (`jpeg`, `png`, `webp`, `gif`) and its size in pixels as stored.

    The size is (0, 0) where the header is cut short or broken.
    """

    format: str
    width: int
    height: int


def sniff(data: bytes) -> Sniffed | None:
    """Format and size from the header bytes; None for anything but the four formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return Sniffed("jpeg", *_jpeg_size(data))
    if data.startswith(PNG_MAGIC):
        known = len(data) >= 24 and data[12:16] == b"IHDR"
        return Sniffed("png", *(_big(data, 16, 4) if known else (0, 0)))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Sniffed("gif", *(_little(data, 6, 2) if len(data) >= 10 else (0, 0)))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Sniffed("webp", *_webp_size(data))
    return None


def looks_like(data: bytes) -> str:
    """In words, what bytes that are no picture of ours seem to be; for error messages."""
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


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            if at + 9 > len(data):
                return 0, 0
            height, width = _big(data, at + 5, 2)
            return width, height
        elif marker in (0xD8, 0xD9, 0xDA):  # a picture's start, end or data without a frame
            return 0, 0
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if length < 2:
                return 0, 0
            at += 2 + length
    return 0, 0


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
