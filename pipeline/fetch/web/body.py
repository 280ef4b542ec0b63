"""Reading a response's body: at most the cap, and at least its declared length."""

import zlib

import urllib3

from pipeline.words.failure import FetchError

_BLOCK = 1 << 16
_MODEST = 1 << 20


def read_body(response: urllib3.BaseHTTPResponse, cap: int) -> bytes:
    """The whole body, decoded. At most `cap` bytes are read from the wire and as many kept.

    We ask for no content encoding, but many servers compress anyway, so gzip and deflate are
    decoded. That is done here and not by urllib3, to bound the decoded size while decoding.
    Raises FetchError: too_large, http_malformed (also for a body shorter than its length).
    """
    # `head` has checked that a length is a number, and that a chunked response has none.
    text = response.headers.get("Content-Length")
    declared = None if text is None else int(text)
    if declared is not None and declared > cap:
        raise FetchError("too_large", f"Content-Length {declared} (at most {cap})")
    inflater = _inflater(response.headers.get("Content-Encoding", ""))
    read, blocks, kept = 0, [], 0
    # Read at once if the length is known and small; else in pieces, as the length may be false.
    piece = declared if declared is not None and declared <= _MODEST else None
    while block := response.read(piece) if piece and not read else response.read1(_BLOCK):
        read += len(block)
        if inflater is not None:
            block = inflater.decompress(block, cap - kept + 1)
        kept += len(block)
        if max(read, kept) > cap:
            raise FetchError("too_large", f"more than {cap} bytes")
        blocks.append(block)
    if not read and declared is None and "Transfer-Encoding" not in response.headers:
        raise FetchError("http_malformed", "the connection was closed before any byte of a body")
    if declared is not None and read < declared:
        raise FetchError("http_malformed", f"{read} of {declared} bytes came")
    if inflater is not None and not inflater.eof:
        raise FetchError("http_malformed", "the compressed body is cut short")
    return b"".join(blocks)


def read_start(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """The first `most` bytes of a body, decoded; what follows is not read.

    Raises FetchError (http_malformed).
    """
    inflater = _inflater(response.headers.get("Content-Encoding", ""))
    kept = b""
    while len(kept) < most and (block := response.read1(_BLOCK)):
        kept += inflater.decompress(block, most) if inflater is not None else block
    return kept[:most]


def skim_body(response: urllib3.BaseHTTPResponse) -> None:
    """Read the rest of an unneeded response if it is short, to be able to reuse the connection."""
    for _ in range(4):
        if not response.read1(_BLOCK):
            return


class _Inflater:
    """Bounded zlib. Servers send `deflate` as zlib (RFC 1950) or, wrongly, raw (RFC 1951)."""

    def __init__(self, gzip: bool) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS + (16 if gzip else 0))
        self._may_be_raw = not gzip

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes, limit: int) -> bytes:
        try:
            try:
                return self._inner.decompress(data, limit)
            except zlib.error:
                if not self._may_be_raw:
                    raise
                self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._inner.decompress(data, limit)
        except zlib.error as error:
            raise FetchError("http_malformed", f"broken compressed body: {error}") from None
        finally:
            self._may_be_raw = False


def _inflater(encoding: str) -> _Inflater | None:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return _Inflater(gzip=name != "deflate")
    raise FetchError("http_malformed", f"Content-Encoding `{name}` was not asked for")
