"""Content codings (RFC 9110, 8.4): undone where they are, ignored where they only stand there.

We ask for none, but many servers compress anyway, and many name one that is none (`utf-8`, `none`,
`aws-chunked`): clients ignore such names.
"""

import codecs
import re
import zlib

from pipeline.words.failure import FetchError

MOST_LAYERS = 5
"""Codings applied one over the other that are undone, as in curl (lib/content_encoding)."""
_MOST_MEMBERS = 64
"""Members of a gzip file (RFC 1952, 2.2) that are read; each costs a copy of the rest."""
GZIP = b"\x1f\x8b\x08"
_KNOWN = frozenset({"gzip", "x-gzip", "deflate"})
_UNREADABLE = frozenset({"br", "zstd", "dcb", "dcz"})
"""Codings of today's clients that are not undone here."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def codings(header: str) -> list[str]:
    """The names in a Content-Encoding header, in the order in which they were applied."""
    return [name for item in header.lower().split(",") if (name := item.strip(" \t"))]


def unreadable(header: str) -> str | None:
    """A coding of the header that clients know and that cannot be undone here."""
    return next((name for name in codings(header) if name in _UNREADABLE), None)


def undo(data: bytes, header: str, most: int, strict: bool = True) -> bytes:
    """The bytes without the codings that the header names, at most `most` + 1 of them.

    Names that are no coding are ignored. Raises FetchError (http_malformed) for a coded body that
    is cut short or broken, and if `strict`, for bytes that are not coded although a name says so.
    """
    layers = 0
    for name in reversed(codings(header)):
        bare = name.partition(";")[0].strip(" \t\"'")
        if bare not in _KNOWN or (bare != name and not data.startswith(GZIP)):
            continue  # also `"gzip"` and `gzip;q=1`, which only mean it where the bytes are so
        layers += 1
        if layers > MOST_LAYERS:
            raise FetchError("http_malformed", f"more than {MOST_LAYERS} content codings")
        if bare == "deflate":
            data = _inflate(data, most, strict)
        elif strict or data.startswith(GZIP):
            data = gunzip(data, most)
    return data


def gunzip(data: bytes, most: int, whole: bool = True) -> bytes:
    """The members of a gzip file, at most `most` + 1 bytes; what follows the last is ignored.

    Checksums are not compared, as in browsers: a picture's decoder says whether it is whole. With
    `whole` off, what a file that is cut short holds is returned. Raises FetchError.
    """
    blocks: list[bytes] = []
    kept = 0
    if not data.startswith(GZIP):
        raise FetchError("http_malformed", "broken compressed body: it is not gzip")
    for _ in range(_MOST_MEMBERS):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            blocks.append(inflater.decompress(data[_header_size(data) :], most - kept + 1))
        except (zlib.error, IndexError) as error:
            said = error if isinstance(error, zlib.error) else "its header is cut short"
            raise FetchError("http_malformed", f"broken compressed body: {said}") from None
        kept += len(blocks[-1])
        if kept > most:
            break
        if not inflater.eof:
            if whole:
                raise FetchError("http_malformed", "the compressed body is cut short")
            break
        data = inflater.unused_data[8:]
        if not data.startswith(GZIP):
            break
    return b"".join(blocks)


def _header_size(data: bytes) -> int:
    """Bytes of a member's header (RFC 1952, 2.3). IndexError if it is cut short."""
    flags, at = data[3], 10
    if flags & 4:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            end = data.find(b"\0", at)
            if end < 0:
                raise IndexError
            at = end + 1
    return at + (2 if flags & 2 else 0)


def _inflate(data: bytes, most: int, strict: bool) -> bytes:
    """`deflate`: zlib (RFC 1950) or, wrongly but often, raw (RFC 1951)."""
    wrapped = len(data) > 2 and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    said = "broken compressed body: it is not deflate"
    for skip in (2, 0) if wrapped else (0,):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            found = inflater.decompress(data[skip:], most + 1)
        except zlib.error:
            continue
        if inflater.eof or len(found) > most:
            return found
        said = "the compressed body is cut short"
    if strict:
        raise FetchError("http_malformed", said)
    return data


def is_text(data: bytes) -> bool:
    """Whether bytes look like a text file and not like a compressed one."""
    start = data[:512]
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or not _CONTROL.search(
        start
    )
