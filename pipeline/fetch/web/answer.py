"""http.client's response, whose head, chunks and trailers are read by our own rules.

The methods overridden here are those by which http.client reads a head and the sizes of chunks;
tests/fetch/test_answer.py fails if a version of Python calls others.
"""

import http.client
import re
from typing import Any

from pipeline.fetch.web.head import read_fields, read_head
from pipeline.words.failure import FetchError

_LINE = 4_096
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?", re.DOTALL)
_NO_BODY = frozenset({204, 304})
OPT_OUTS = (b"X-Robots-Tag", b"TDM-Reservation")


class Answer(http.client.HTTPResponse):
    """`begin` raises FetchError (http_malformed) and RemoteDisconnected; reading, FetchError.

    The opt-outs of a chunked body's trailers are added to `later` when they are read.
    """

    later: Any = None
    """The headers (urllib3's HTTPHeaderDict) of the response that is made of this one."""

    def begin(self) -> None:
        if self.headers is not None:
            return
        head = read_head(self.fp)
        self.code = self.status = head.status
        self.reason, self.version = head.reason, head.version
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in head.fields:
            self.headers[name.decode("latin-1")] = value.decode("latin-1")
        self.chunked, self.chunk_left = head.chunked, None
        self.length = head.length
        if head.status in _NO_BODY or head.status < 200 or self._method == "HEAD":
            self.length, self.chunked = 0, False
        delimited = self.chunked or self.length is not None
        # After anything that is no HTTP it is uncertain where the next answer would begin.
        self.will_close = head.odd or not delimited or self._check_close()

    def _get_chunk_left(self) -> int | None:
        """Bytes left of the current chunk, after the head of the next one if need be; None at the
        end of the body (RFC 9112, 7.1)."""
        if not self.chunk_left:
            if self.chunk_left is not None and self._read_line():
                raise FetchError("http_malformed", "a chunk is longer than its size")
            line = self._read_line()
            size = _SIZE.fullmatch(line)
            if size is None:
                shown = line[:40].decode("latin-1")
                raise FetchError("http_malformed", f"`{shown}` is no chunk's size")
            digits = size[1].lstrip(b"0")[:16]
            self.chunk_left = int(digits, 16) if digits else None
            if self.chunk_left is None:
                self._read_trailers()
                self._close_conn()  # type: ignore[attr-defined]
        return self.chunk_left

    def _read_line(self) -> bytes:
        line: bytes = self.fp.readline(_LINE + 1)
        if not line.endswith(b"\n"):
            detail = "too long a line among" if len(line) > _LINE else "closed amid"
            raise FetchError("http_malformed", f"{detail} the chunks of the body")
        return line.rstrip(b"\r\n")

    def _read_trailers(self) -> None:
        """Read the trailer fields, of which only opt-outs concern us."""
        for name, value in read_fields(_Trailers(self.fp))[0]:
            if name in OPT_OUTS and self.later is not None:
                self.later.add(name.decode(), value.decode("latin-1"))


class _Trailers:
    """Lines of a connection, at most so many bytes of them in all."""

    def __init__(self, wire: Any, most: int = 65_536) -> None:
        self._wire, self._left = wire, most

    def readline(self, limit: int) -> bytes:
        line: bytes = self._wire.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise FetchError("http_malformed", "trailers of more than 65536 bytes")
        return line
