"""Reading a response's body: at most the cap, and at least its declared length."""

import urllib3

from pipeline.fetch.web.coding import GZIP, gunzip, is_text, undo, unreadable
from pipeline.words.failure import FetchError

_BLOCK = 1 << 16
_MODEST = 1 << 20


def read_body(response: urllib3.BaseHTTPResponse, cap: int) -> bytes:
    """The whole body, decoded. At most `cap` bytes are read from the wire and as many kept.

    We ask for no content encoding, but many servers compress anyway. That is undone here and not
    by urllib3, to bound the decoded size while decoding.
    Raises FetchError: too_large, http_malformed (also for a body shorter than its length).
    """
    # `head` has checked that a length is a number, and that a chunked response has none.
    text = response.headers.get("Content-Length")
    declared = None if text is None else int(text)
    if declared is not None and declared > cap:
        raise FetchError("too_large", f"Content-Length {declared} (at most {cap})")
    read, blocks = 0, []
    # Read at once if the length is known and small; else in pieces, as the length may be false.
    piece = declared if declared is not None and declared <= _MODEST else None
    while block := response.read(piece) if piece and not read else response.read1(_BLOCK):
        read += len(block)
        if read > cap:
            raise FetchError("too_large", f"more than {cap} bytes")
        blocks.append(block)
    if not read and declared is None and "Transfer-Encoding" not in response.headers:
        raise FetchError("http_malformed", "the connection was closed before any byte of a body")
    if declared is not None and read < declared:
        raise FetchError("http_malformed", f"{read} of {declared} bytes came")
    header = response.headers.get("Content-Encoding", "")
    if (coding := unreadable(header)) is not None:
        raise FetchError("http_malformed", f"Content-Encoding {coding} was not asked for")
    body = undo(b"".join(blocks), header, cap)
    if len(body) > cap:
        raise FetchError("too_large", f"more than {cap} bytes")
    return body


def read_start(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """The first `most` bytes of a text, decoded; what follows is not read.

    What its bytes are counts, and not the label: a text may be compressed and not say so.
    Raises FetchError (http_malformed), also for one in a coding that is not undone here: what
    cannot be read may forbid anything.
    """
    blocks, kept = [], 0
    while kept < most and (block := response.read1(_BLOCK)):
        blocks.append(block)
        kept += len(block)
    body, header = b"".join(blocks), response.headers.get("Content-Encoding", "")
    if not body.startswith(GZIP):
        body = undo(body, header, most, strict=False)
    elif kept < most:
        body = gunzip(body, most)
    else:
        body = gunzip(body, most, whole=False)
    if (coding := unreadable(header)) is not None and not is_text(body):
        raise FetchError("http_malformed", f"Content-Encoding {coding} was not asked for")
    return body[:most]


def skim_body(response: urllib3.BaseHTTPResponse) -> None:
    """Read the rest of an unneeded response if it is short, to be able to reuse the connection."""
    for _ in range(4):
        if not response.read1(_BLOCK):
            return
