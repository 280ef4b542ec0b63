"""PNGs without what does not concern their pixels, and how much of these is there."""

import struct
import zlib
from collections.abc import Iterator

from pipeline.fetch.picture.missing import check_missing
from pipeline.fetch.picture.sniff import PNG_MAGIC, png_chunks
from pipeline.words.oddities import (
    BYTES_AFTER_END,
    CHECKSUM_WRONG,
    CHUNK_BROKEN,
    DATA_DAMAGED,
    END_MISSING,
)

_END = b"\0\0\0\0IEND\xaeB`\x82"
_LEAST = {
    b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"pHYs": 9, b"bKGD": 1, b"acTL": 8, b"tIME": 7,
}  # fmt: skip
"""Bytes of ancillary chunks (PNG, 11.3), of which decoders complain if there are fewer."""
_TRANSPARENCY = {0: 2, 2: 6, 3: 1}
"""Least bytes of tRNS by the type of colour (PNG, 11.3.2.1)."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
"""First column and row, and steps, of Adam7's passes (PNG, 8.2)."""
_STEP = 1 << 20


def plain_png(data: bytes, odd: set[str]) -> bytes:
    """The header, palette, transparency and pixels of a PNG, with an end.

    What else there is does not change the stored picture, and decoders fail for faults in it that
    browsers overlook. An ancillary chunk with a wrong checksum is left out, as libpng does.
    `odd` gets what is wrong. ValueError for a PNG of more than 100,000 chunks.
    """
    kept, end, seen = [PNG_MAGIC], 0, False
    colour = data[25] if len(data) > 25 else 0
    for name, start, stop in png_chunks(data):
        end = stop + 4
        is_ancillary = bool(name[:1] and name[0] & 32)
        sum_ = data[stop : stop + 4]
        wrong = len(sum_) == 4 and int.from_bytes(sum_, "big") != zlib.crc32(data[start - 4 : stop])
        if wrong:
            odd.add(CHECKSUM_WRONG)
        size = stop - start
        if not name.isalpha() or size < _LEAST.get(name, 0):
            odd.add(CHUNK_BROKEN)
        elif name == b"tRNS" and not wrong:
            if size < _TRANSPARENCY.get(colour, 1):
                odd.add(CHUNK_BROKEN)
            elif not seen:
                kept.append(data[start - 8 : end])
        elif name == b"IEND":
            break
        elif not is_ancillary and not (seen and name != b"IDAT"):
            seen = seen or name == b"IDAT"
            kept.append(data[start - 8 : end])
    else:
        odd.add(END_MISSING)
        end = len(data)
    if end < len(data):
        odd.add(BYTES_AFTER_END)
    return b"".join([*kept, _END])


def check_rows(data: bytes, odd: set[str]) -> None:
    """Inflate the pixels and note in `odd` what is missing of them. CutShortError."""
    got = sum(map(len, _inflated(data)))
    check_missing(1 - got / rows_size(data), odd)


def refilled_png(data: bytes, odd: set[str]) -> bytes:
    """A PNG of the pixels that can be inflated, whatever their checksum, those missing as zeros.

    CutShortError if more are missing than is overlooked.
    """
    rows = b"".join(_inflated(data))
    size = rows_size(data)
    check_missing(1 - len(rows) / size, odd)
    if len(rows) == size:
        odd.add(DATA_DAMAGED)
    body = b"IDAT" + zlib.compress(rows + bytes(size - len(rows)), 1)
    pixels = struct.pack(">I", len(body) - 4) + body + zlib.crc32(body).to_bytes(4, "big")
    others = [
        data[start - 8 : stop + 4] for name, start, stop in png_chunks(data)
        if name not in (b"IDAT", b"IEND")
    ]  # fmt: skip
    return b"".join([PNG_MAGIC, *others, pixels, _END])


def rows_size(data: bytes) -> int:
    """Bytes of all rows with their filters' (PNG, 7.2 and 8.1), by the header; at least 1.

    ValueError for a header of an unknown method."""
    width, height, bits, colour, packed, filters, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if packed or filters or interlace > 1:
        raise ValueError("a PNG of an unknown method")
    depth = bits * _CHANNELS.get(colour, 4)
    sizes = [(width, height)]
    if interlace:
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES]
    return max(1, sum((1 + -(-wide * depth // 8)) * high for wide, high in sizes if wide > 0))


def _inflated(data: bytes) -> Iterator[bytes]:
    """The pixels' bytes, as many as the header says at most, up to a fault in them."""
    left = rows_size(data)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    skip = 2  # zlib's header (RFC 1950): only its checksum would matter
    for name, start, stop in png_chunks(data):
        if name != b"IDAT":
            continue
        at = min(start + skip, stop)
        skip -= at - start
        block = data[at:stop]
        while block and left and not inflater.eof:
            try:
                found = inflater.decompress(block, min(_STEP, left))
            except zlib.error:
                return
            left -= len(found)
            yield found
            block = inflater.unconsumed_tail
