"""Finds the blocks of metadata in a picture's bytes, without reading what they say.

Nothing is decoded here but the text of PNG, which is inflated up to a limit.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.fetch.picture.metadata import webp_chunks
from pipeline.fetch.picture.sniff import boxes, jpeg_segments, png_chunks

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The user type of a C2PA store in ISO base media files (C2PA 2.2, A.5)."""
_MOST_TEXT, _MOST_XMP = 1 << 14, 1 << 18
"""Bytes of a text and of an XMP packet that are read; a longer packet is left out."""
_MOST_TEXTS, _MOST_PACKETS = 50, 3


@dataclass
class Packets:
    """What there is, in the order of the file."""

    xmp: list[bytes] = field(default_factory=list)
    """XMP packets (ISO 16684-1), as XML."""
    exif: list[bytes] = field(default_factory=list)
    """EXIF blocks, as TIFF."""
    iptc: list[bytes] = field(default_factory=list)
    """Photoshop's resources, of which one may be IPTC-IIM."""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """Keywords and texts of PNG."""
    jumbf: list[bytes] = field(default_factory=list)
    """Boxes of JUMBF (ISO 19566-5), in which C2PA is stored."""


def find_packets(data: bytes, form: str) -> Packets:
    """The blocks of a picture in the given format. ValueError for a PNG of over 100,000 chunks."""
    found = Packets()
    if form == "jpeg":
        _of_jpeg(data, found)
    elif form == "png":
        _of_png(data, found)
    elif form == "webp":
        _of_webp(data, found)
    elif form == "avif":
        for name, start, stop in boxes(data, 0, len(data)):
            if name == b"uuid" and data[start : start + 16] == _C2PA_BOX:
                # A purpose and an offset stand before the first box.
                first = data.find(b"jumb", start, min(start + 256, stop))
                found.jumbf += [data[first - 4 : stop]] if first >= 0 else []
    if form in ("avif", "gif"):
        found.xmp += _scanned(data)
    found.xmp = [packet for packet in found.xmp[:_MOST_PACKETS] if len(packet) <= _MOST_XMP]
    return found


def _of_jpeg(data: bytes, found: Packets) -> None:
    pieces: dict[int, list[tuple[int, bytes]]] = {}
    photoshop = []
    for marker, start, stop in jpeg_segments(data):
        if marker == 0xE1 and data.startswith(_XMP, start):
            found.xmp.append(data[start + len(_XMP) : stop])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            found.exif.append(data[start + 6 : stop])
        elif marker == 0xED and data.startswith(_PHOTOSHOP, start):
            photoshop.append(data[start + len(_PHOTOSHOP) : stop])
        elif marker == 0xEB and data.startswith(b"JP", start) and stop - start > 16:
            # ISO 19566-5, D.2: the number of the box and of its piece; each piece repeats the
            # box's own header.
            box = int.from_bytes(data[start + 2 : start + 4], "big")
            number = int.from_bytes(data[start + 4 : start + 8], "big")
            pieces.setdefault(box, []).append((number, data[start + 8 : stop]))
    if photoshop:
        found.iptc.append(b"".join(photoshop))
    for parts in pieces.values():
        (_, first), *others = sorted(parts)
        found.jumbf.append(b"".join([first, *(piece[8:] for _, piece in others)]))


def _of_png(data: bytes, found: Packets) -> None:
    seen = 0
    for name, start, stop in png_chunks(data):
        if name == b"eXIf":
            found.exif.append(data[start:stop])
        elif name == b"caBX":
            found.jumbf.append(data[start:stop])
        elif name in (b"tEXt", b"zTXt", b"iTXt") and seen < _MOST_TEXTS:
            seen += 1
            keyword, _, body = data[start:stop].partition(b"\0")
            if keyword == b"XML:com.adobe.xmp":
                found.xmp.append(_png_text(name, body, _MOST_XMP + 1))
            else:
                text = _decoded(_png_text(name, body, _MOST_TEXT))
                found.texts.append((keyword.decode("latin-1"), text))


def _decoded(text: bytes) -> str:
    """Most write UTF-8; Latin-1 is what PNG defines for two of the three kinds."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _png_text(name: bytes, body: bytes, most: int) -> bytes:
    """A text's bytes, at most `most` (PNG, 11.3.4)."""
    packed = name == b"zTXt"
    if packed:
        body = body[1:]
    elif name == b"iTXt":
        packed = body[:1] == b"\1"
        _, _, rest = body[2:].partition(b"\0")
        _, _, body = rest.partition(b"\0")
    if not packed:
        return body[:most]
    try:
        return zlib.decompressobj().decompress(body, most)
    except zlib.error:
        return b""


def _of_webp(data: bytes, found: Packets) -> None:
    for name, start, stop in webp_chunks(data):
        if name == b"XMP ":
            found.xmp.append(data[start:stop])
        elif name == b"EXIF":
            found.exif.append(data[start:stop].removeprefix(b"Exif\0\0"))
        elif name == b"C2PA":
            found.jumbf.append(data[start:stop])


def _scanned(data: bytes) -> Iterator[bytes]:
    """XMP packets found by their marks, as ISO 16684-1, 7.3.2 intends where a format is unknown."""
    start, end = data.find(b"<x:xmpmeta"), b"</x:xmpmeta>"
    if start >= 0 and (stop := data.find(end, start, start + _MOST_XMP)) >= 0:
        yield data[start : stop + len(end)]
