"""Pictures that no normal program would write, built chunk by chunk."""

import struct
import zlib

import numpy as np
from plain_scenes import GOOD, encoded, scene

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GOOD_PNG = encoded(scene(), "PNG")
GOOD_GIF = encoded(scene(), "GIF")
GOOD_WEBP = encoded(scene(), "WEBP", lossless=True)


def deflated_zeros(size: int) -> bytes:
    """A zlib stream of `size` zeros (a multiple of 1 MiB), a thousandth as long, made quickly."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    checksum = (size % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\x9c" + block * (size >> 20) + end + checksum.to_bytes(4, "big")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png(width: int, height: int, bits: int, colour: int, data: bytes, *chunks: bytes) -> bytes:
    """A PNG with these compressed rows; `chunks` come before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rest = png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"".join([PNG_MAGIC, header, *chunks, rest])


def with_chunks(*chunks: bytes) -> bytes:
    """The good picture as a PNG with these chunks after its header."""
    return GOOD_PNG[:33] + b"".join(chunks) + GOOD_PNG[33:]


def deep_png(values: np.ndarray) -> bytes:
    """A 16-bit PNG, uint16 (height, width) or (height, width, 3 or 4)."""
    height, width = values.shape[:2]
    colour = {2: 0, 3: {3: 2, 4: 6}.get(values.shape[-1])}[values.ndim]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(width, height, 16, colour, zlib.compress(rows))


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(*segments: bytes, jpeg: bytes = GOOD) -> bytes:
    """A JPEG with these segments after its first two bytes."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def icc_segments(profile: bytes, piece: int = 65_000) -> list[bytes]:
    """APP2 segments that hold a profile in pieces (ICC.1:2022, B.4)."""
    parts = [profile[at : at + piece] for at in range(0, len(profile), piece)]
    head = b"ICC_PROFILE\0"
    return [
        jpeg_segment(0xE2, head + bytes([number & 0xFF, len(parts) & 0xFF]) + part)
        for number, part in enumerate(parts, 1)
    ]


def without_adobe(jpeg: bytes) -> bytes:
    """The JPEG without Adobe's marker that says how its colours are stored (APP14)."""
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


def riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def webp_with(name: bytes, body: bytes) -> bytes:
    """The good picture as an extended WebP with a metadata chunk."""
    flags = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}[name]
    size = struct.pack("<HBHB", 96 - 1, 0, 80 - 1, 0)
    extended = riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)
    around = (riff_chunk(name, body), b"") if name == b"ICCP" else (b"", riff_chunk(name, body))
    chunks = extended + around[0] + GOOD_WEBP[12:] + around[1]
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def gif_of_frames(count: int) -> bytes:
    """A GIF with the scene and then `count` frames of one pixel."""
    frame = b"\x21\xf9\x04\0\1\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0" + b"\x02\x02\x44\x01\0"
    return GOOD_GIF[:-1] + frame * count + b";"


def gif_beyond_its_screen() -> bytes:
    """A GIF whose header says 96×80, and whose frame says 60,000×60,000."""
    at = GOOD_GIF.index(b"\x2c\0\0\0\0\x60\0\x50\0")
    return GOOD_GIF[: at + 5] + struct.pack("<HH", 60_000, 60_000) + GOOD_GIF[at + 9 :]


def png_of_two_sizes() -> bytes:
    """A PNG with a second header, which says 20,000×20,000."""
    return with_chunks(png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)))


def jpeg_of_scans(count: int, side: int = 4_000) -> bytes:
    """A progressive JPEG, plain grey, with `count` additional scans over all its pixels."""
    data = encoded(np.full((side, side, 3), 200, np.uint8), progressive=True)
    start = data.rindex(b"\xff\xda")  # the last scan: a header and a few bytes
    return data[:-2] + data[start:-2] * count + data[-2:]
