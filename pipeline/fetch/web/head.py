"""Reads the head of a response so that a malformed line cannot hide the lines after it.

http.client passes the header lines to an e-mail parser, which takes the first malformed line, and
all that follow, for the message's text: an X-Robots-Tag or Content-Length after it is lost. Here
a head is read line by line, as leniently as curl and browsers do: RFC 9112 (2.2 line ends, 4 status
lines, 5 field lines, 6.3 the body's length) and RFC 9110 (5.5 characters, 15.2 interim answers).
A line that cannot be read is ignored, unless it may be an opt-out: then the answer is refused.
"""

import http.client
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.words.failure import FetchError

_LINE = 65_536
"""Bytes of one line, as in http.client."""
_SLOP = 4
"""Bytes before a status line that are overlooked, as in Chromium (net/http/http_stream_parser)."""
_STATUS = re.compile(
    rb"[^hH]{0,4}?HTTP(?:/(\d+)(?:\.(\d+))?)?[^ \t]*[ \t]+0*(\d{3})(?![\d_])(.*)", re.IGNORECASE
)
_PLAIN_STATUS = re.compile(rb"HTTP/1\.[01] \d{3}(?: .*)?")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_NO_LETTER = re.compile(rb"[^a-z]+")
_OPT_OUTS = {
    b"xrobotstag": b"X-Robots-Tag", b"xrobotstags": b"X-Robots-Tag", b"xrobottag": b"X-Robots-Tag",
    b"robotstag": b"X-Robots-Tag", b"tdmreservation": b"TDM-Reservation",
    b"xtdmreservation": b"TDM-Reservation",
}  # fmt: skip
"""The names of opt-outs in the spellings that sites use, by their letters."""
_MARKS = b"robot", b"tdm"
Field = tuple[bytes, bytes]


class Lines(Protocol):
    """What lines are read from."""

    def readline(self, limit: int, /) -> bytes:
        """The next line, with its end, at most `limit` bytes of it."""


@dataclass(frozen=True)
class Head:
    """A response's head. `length` and `chunked` say how the body is delimited; without either it
    ends with the connection. `odd`: something in it is no valid HTTP, so that the connection is
    not to be used again."""

    version: int
    """10 or 11."""
    status: int
    reason: str
    fields: list[Field]
    length: int | None
    chunked: bool
    odd: bool


def read_head(wire: Lines) -> Head:
    """The final response's head. Interim ones before it (1xx except 101) are skipped, but for the
    opt-outs in them, which become fields of the final one.

    Raises FetchError (http_malformed), and RemoteDisconnected where nothing came.
    """
    said: list[Field] = []
    while True:
        start, match, slop = _read_start(wire)
        fields, odd = read_fields(wire, match[3])
        if match[3][:1] != b"1" or match[3] == b"101":
            break
        said += [field for field in fields if field[0] in _OPT_OUTS.values()]
    major, minor = match[1] or b"1", match[2] or b"0"
    version = 11 if int(major[:9]) > 1 or (major == b"1" and int(minor[:9]) > 0) else 10
    others, length, chunked, certain = _frame(fields)
    return Head(
        version, int(match[3]), match[4].strip().decode("latin-1"), said + others, length, chunked,
        odd or slop or not certain or _PLAIN_STATUS.fullmatch(start) is None,
    )  # fmt: skip


def _read_start(wire: Lines) -> tuple[bytes, re.Match[bytes], bool]:
    """The status line, its parts, and whether line ends stood before it."""
    skipped = 0
    while True:
        line = wire.readline(_LINE + 1)
        if not line and not skipped:
            raise http.client.RemoteDisconnected("closed without an answer")
        start = _trim(line)
        if start or skipped + len(line) > _SLOP:
            break
        skipped += len(line)
    match = _STATUS.fullmatch(start.lstrip(b" \t"))
    if match is None:
        raise FetchError("http_malformed", f"the status line cannot be read: {_shown(start)}")
    if b"\r" in start:
        raise FetchError("http_malformed", f"a control character in the headers: {_shown(start)}")
    return start, match, skipped > 0


def _trim(line: bytes) -> bytes:
    """A line without its end, which is a line feed and any carriage returns before it."""
    if len(line) > _LINE:
        raise FetchError("http_malformed", f"a header line of more than {_LINE} bytes")
    if not line.endswith(b"\n"):
        raise FetchError("http_malformed", "the connection was closed amid the headers")
    line = line.rstrip(b"\r\n")
    if b"\0" in line:
        raise FetchError("http_malformed", f"a control character in the headers: {_shown(line)}")
    return line


def read_fields(wire: Lines, code: bytes = b"") -> tuple[list[Field], bool]:
    """Names and values up to the empty line, and whether any line is malformed.

    Folded lines are joined. Malformed lines are left out, and so is what follows a carriage return
    within a line. FetchError (http_malformed) if one of them may be an opt-out, or is a status line
    with another code than `code`.
    """
    lines: list[bytes] = []
    odd = False
    while line := _trim(wire.readline(_LINE + 1)):
        if line[:1] not in b" \t":
            lines.append(line)
            continue
        odd = True
        if lines:
            lines[-1] += b" " + line.strip(b" \t")
        else:
            # RFC 9112, 2.2: a line before the first header that is indented is no header. What
            # follows it, indented too, is a part of it.
            lines.append(line)
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        bare = name.rstrip(b" \t")
        if not colon or not _NAME.fullmatch(bare) or b"\r" in line:
            odd = True
            _check_ignored(line, code)
            if not colon or not _NAME.fullmatch(bare):
                continue
            value = value.partition(b"\r")[0]
        odd = odd or bare is not name
        fields.append((_plain_name(bare), value.strip(b" \t")))
    return fields, odd


def _plain_name(name: bytes) -> bytes:
    """The name; for an opt-out's in another spelling, the usual one."""
    lower = name.lower()
    if _MARKS[0] in lower or _MARKS[1] in lower:
        return _OPT_OUTS.get(_NO_LETTER.sub(b"", lower), name)
    return name


def _check_ignored(line: bytes, code: bytes) -> None:
    """FetchError if a malformed line could have been an opt-out, or another status."""
    again = _STATUS.fullmatch(line)
    letters = _NO_LETTER.sub(b"", line.lower())
    if (again and again[3] != code) or any(name in letters for name in _OPT_OUTS):
        raise FetchError("http_malformed", f"a header that cannot be read: {_shown(line)}")


def _frame(fields: Sequence[Field]) -> tuple[list[Field], int | None, bool, bool]:
    """The fields with at most one statement of the body's length; the length; whether the body
    comes in chunks; and whether all statements are as they should be.

    `chunked` overrides a length. Other transfer codings are left to the reader of the body, as
    curl does; names that are none are ignored. A length that is no number is none, and the body
    then ends with the connection, as in Chromium. Two lengths that differ are refused (RFC 9112,
    6.3), because each is as good as the other.
    """
    others: list[Field] = []
    codings: list[bytes] = []
    stated: list[bytes] = []
    for name, value in fields:
        lower = name.lower()
        if lower == b"transfer-encoding":
            codings += _items(value)
        elif lower == b"content-length":
            stated += _items(value) or [b""]
        else:
            others.append((name, value))
    chunked = b"chunked" in codings
    certain = codings in ([], [b"chunked"]) and not (codings and stated) and len(stated) < 2
    packed = [coding for coding in codings if coding in (b"gzip", b"x-gzip", b"deflate")]
    if packed:  # applied after the content's own codings
        others.append((b"Content-Encoding", b", ".join(packed)))
    if chunked:
        return [*others, (b"Transfer-Encoding", b"chunked")], None, True, certain
    lengths = {_number(item) for item in stated}
    if len(lengths) > 1:
        shown = _shown(b", ".join(stated))
        raise FetchError("http_malformed", f"Content-Length {shown} is no length")
    length = lengths.pop() if lengths else None
    if length is None:
        return others, None, False, certain and not stated
    certain = certain and all(item.isdigit() for item in stated)
    return [*others, (b"Content-Length", b"%d" % length)], length, False, certain


def _items(value: bytes) -> list[bytes]:
    parts = (item.strip(b" \t").lower() for item in value.split(b","))
    return [item for item in parts if item]


def _number(item: bytes) -> int | None:
    """The number that a length begins with, as curl reads it; None if it begins with none."""
    match = re.match(rb"\+?0*(\d+)(?![\dx_])", item)
    if match is None:
        return None
    # int() refuses numbers of thousands of digits; 18 nines are above every cap as well.
    return int(match[1]) if len(match[1]) < 19 else 10**18 - 1


def _shown(line: bytes) -> str:
    return f"`{line[:80].decode('latin-1')}`"
