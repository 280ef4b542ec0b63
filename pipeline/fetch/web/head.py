"""Reads the head of a response so that a malformed line cannot hide the lines after it.

http.client passes the header lines to an e-mail parser, which takes the first malformed line, and
all that follow, for the message's text: an X-Robots-Tag or Content-Length after it is lost. Here
a head is first normalised or refused, line by line, by RFC 9112 (2.2 line ends, 5
field lines, 6.3 the body's length) and RFC 9110 (5.5 characters, 15.2 interim answers).
"""

import http.client
import io
import re
from typing import BinaryIO

from pipeline.words.failure import FetchError

_LINE = 65_536
"""Bytes of one line, as in http.client."""
_STATUS = re.compile(rb"\s*HTTP/\S+[ \t]+(\d{3})(?:[ \t].*)?")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_RELEVANT = (
    b"x-robots-tag", b"tdm-reservation", b"content-length", b"transfer-encoding",
    b"content-encoding", b"location", b"retry-after",
)  # fmt: skip
"""Headers that we act upon: a malformed line that names one is not ignored."""
_Field = tuple[bytes, bytes]


class Answer(http.client.HTTPResponse):
    """http.client's response, whose head is normalised before http.client reads it.

    `begin` raises FetchError (http_malformed) and whatever http.client's own does.
    """

    def begin(self) -> None:
        if self.headers is not None:
            return
        wire = self.fp
        self.fp = io.BytesIO(_read_head(wire))
        try:
            super().begin()
        finally:
            self.fp = wire


def _read_head(wire: BinaryIO) -> bytes:
    """The final response's normalised head; interim ones before it (1xx except 101) are skipped."""
    while True:
        line = wire.readline(_LINE + 1)
        if not line:
            raise http.client.RemoteDisconnected("closed without an answer")
        start = _trim(line)
        status = _STATUS.fullmatch(start)
        if status is None:
            raise http.client.BadStatusLine(start.decode("latin-1"))
        fields = _read_fields(wire, status[1])
        if status[1][:1] != b"1" or status[1] == b"101":
            lines = [start, *(b"%b: %b" % field for field in _frame(fields)), b"", b""]
            return b"\r\n".join(lines)


def _trim(line: bytes) -> bytes:
    """A line without its end, which is a line feed and any carriage returns before it."""
    if len(line) > _LINE:
        raise FetchError("http_malformed", f"a header line of more than {_LINE} bytes")
    if not line.endswith(b"\n"):
        raise FetchError("http_malformed", "the connection was closed amid the headers")
    line = line.rstrip(b"\r\n")
    if b"\r" in line or b"\0" in line:
        raise FetchError("http_malformed", f"a control character in the headers: {_shown(line)}")
    return line


def _read_fields(wire: BinaryIO, code: bytes) -> list[_Field]:
    """Names and values up to the empty line, folded lines joined, malformed lines left out."""
    lines: list[bytes] = []
    while line := _trim(wire.readline(_LINE + 1)):
        if line[:1] not in b" \t":
            lines.append(line)
        elif lines:
            lines[-1] += b" " + line.strip(b" \t")
        elif line.strip(b" \t"):
            # RFC 9112, 2.2, would have us reject it or read on without it.
            raise FetchError("http_malformed", f"the first header is indented: {_shown(line)}")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME.fullmatch(name):
            fields.append((name, value.strip(b" \t")))
        else:
            _check_ignored(line, code)
    return fields


def _check_ignored(line: bytes, code: bytes) -> None:
    """FetchError if a malformed line could have been a header that we act upon, or a status."""
    again = _STATUS.fullmatch(line)
    if (again and again[1] != code) or any(name in line.lower() for name in _RELEVANT):
        raise FetchError("http_malformed", f"a header that cannot be read: {_shown(line)}")


def _frame(fields: list[_Field]) -> list[_Field]:
    """The fields with a single statement of the body's length, so that it is not ambiguous.

    We offer no transfer coding (TE), so only `chunked` is allowed; it overrides a length.
    """
    others: list[_Field] = []
    found: dict[bytes, list[bytes]] = {b"transfer-encoding": [], b"content-length": []}
    for name, value in fields:
        if name.lower() in found:
            found[name.lower()] += [item.strip(b" \t") for item in value.split(b",")]
        else:
            others.append((name, value))
    codings, lengths = found[b"transfer-encoding"], set(found[b"content-length"])
    if [coding.lower() for coding in codings] == [b"chunked"]:
        return [*others, (b"Transfer-Encoding", b"chunked")]
    if any(coding.lower() != b"identity" for coding in codings):
        shown = _shown(b", ".join(codings))
        raise FetchError("http_malformed", f"Transfer-Encoding {shown} was not asked for")
    if not lengths:
        return others
    length = lengths.pop()
    if lengths or not length.isdigit():
        shown = _shown(b", ".join(found[b"content-length"]))
        raise FetchError("http_malformed", f"Content-Length {shown} is no length")
    length = length.lstrip(b"0") or b"0"
    # int() refuses numbers of thousands of digits; 18 nines are above every cap as well.
    return [*others, (b"Content-Length", length if len(length) < 19 else b"9" * 18)]


def _shown(line: bytes) -> str:
    return f"`{line[:80].decode('latin-1')}`"
