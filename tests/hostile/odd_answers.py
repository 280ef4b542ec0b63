"""Answers as real servers send them, each a small case made here after a public bug report.

`curl` and `chromium` say whether these show the picture: curl 7.88.1 (a plain fetch; the bytes that
it writes are the picture) and Chromium 150 (headless; an `img` loads), asked on 27 November 2026
through `viewers.py`. `test_hostile_oddities_servers.py` asks them again where they are installed.
"""

import gzip
import zlib
from dataclasses import dataclass

from loopback_site import Page
from plain_scenes import GOOD
from wire_pages import picture, raw

LENGTH = b"Content-Length: %d" % len(GOOD)
CHUNKED = b"Transfer-Encoding: chunked"
PACKED = gzip.compress(GOOD, mtime=0)
MOVED = b"HTTP/1.1 302 Found"


@dataclass(frozen=True)
class Odd:
    """An answer or a file, where the report of such a one is, and what becomes of it."""

    data: bytes
    source: str
    """The tracker's repository and the number of the issue or pull request, on GitHub."""
    curl: bool
    chromium: bool
    reason: str | None
    """What the row's reason should be; None: the picture is stored."""
    warnings: str | None = None
    """What `decode_warnings` should be."""
    why: str = ""
    """Why we do otherwise than both."""

    @property
    def agrees(self) -> bool:
        """Whether we store what either shows."""
        return (self.reason is None) == (self.curl or self.chromium)


def answer(*lines: bytes, body: bytes = GOOD, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""]) + body


def chunks(data: bytes = GOOD, last: bytes = b"0\r\n\r\n", rest: bytes = b"") -> bytes:
    """The data in two chunks; `rest` follows each size."""
    half = len(data) // 2
    parts = [b"%x%b\r\n%b\r\n" % (len(p), rest, p) for p in (data[:half], data[half:])]
    return b"".join([*parts, last])


ANSWERS: dict[str, Odd] = {
    "quoted-name-indented": Odd(
        answer(b' "Content-type": image/jpeg', LENGTH),
        "urllib3/urllib3#950",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "every-line-indented": Odd(
        answer(b"\tContent-Type: image/jpeg", b"\t" + LENGTH),
        "urllib3/urllib3#1286",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "space-in-a-name": Odd(
        answer(b"My Param: None", LENGTH),
        "urllib3/urllib3#1110",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "space-before-the-colon": Odd(
        answer(b"Access-Control-Expose-Headers : X", LENGTH),
        "urllib3/urllib3#1433",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "control-in-a-cookie": Odd(
        answer(b"Set-Cookie: a=\x01b", LENGTH),
        "aio-libs/aiohttp#5269",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "line-feeds-and-both": Odd(
        b"HTTP/1.0 200 OK\nServer: X\r\nSet-Cookie: u=1;\n\n" + GOOD,
        "aio-libs/aiohttp#7494",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "equals-for-a-colon": Odd(
        answer(b"X-XSS-Protection=1;", LENGTH),
        "aio-libs/aiohttp#2624",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "130-headers": Odd(
        answer(*[b"X-%d: y" % i for i in range(130)], LENGTH),
        "python/cpython#131724",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "return-in-a-value": Odd(
        answer(b"X-A: b\rc", LENGTH),
        "ArchiveTeam/wpull#17",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "no-status-line": Odd(
        GOOD,
        "curl/curl#13045",
        curl=False,
        chromium=False,
        reason="http_malformed",
    ),
    "status-without-words": Odd(
        answer(LENGTH, start=b"HTTP/1.1 200"),
        "seanmonstar/httparse#29",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "continue-twice": Odd(
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + answer(LENGTH),
        "openid/python-openid#76",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "processing-first": Odd(
        b"HTTP/1.1 102 Processing\r\n\r\n" + answer(LENGTH),
        "aio-libs/aiohttp#1353",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "early-hints-twice": Odd(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + answer(LENGTH),
        "snoyberg/http-client#521",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "length-and-words": Odd(
        answer(LENGTH + b" bytes"),
        "curl/curl#18921",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "length-in-words": Odd(
        answer(b"Content-Length: string"),
        "postmanlabs/httpbin#219",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "length-with-a-hyphen": Odd(
        answer(LENGTH + b"-"),
        "ArchiveTeam/wpull#17",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "length-in-quotation-marks": Odd(
        answer(b'Content-Length: "%d"' % len(GOOD)),
        "israellot/esp-ginx#14",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "lengths-that-differ": Odd(
        answer(LENGTH, b"Content-Length: 30"),
        "web-platform-tests/wpt#10548",
        curl=False,
        chromium=False,
        reason="http_malformed",
    ),
    "length-and-chunks": Odd(
        answer(b"Content-Length: 5", CHUNKED, body=chunks()),
        "apache/httpcomponents-client#698",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "spaces-after-a-chunk's-size": Odd(
        answer(CHUNKED, body=chunks(rest=b"   ")),
        "python-hyper/h11#143",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "chunk-extension": Odd(
        answer(CHUNKED, body=chunks(rest=b';name="a;b"')),
        "civetweb/civetweb#1133",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "trailer": Odd(
        answer(CHUNKED, body=chunks(last=b"0\r\nX-A: b\r\n\r\n")),
        "civetweb/civetweb#1133",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "two-last-chunks": Odd(
        answer(CHUNKED, body=chunks(last=b"0\r\n\r\n" * 2)),
        "SerenityOS/serenity#2881",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "no-last-chunk": Odd(
        answer(CHUNKED, body=chunks(last=b"")),
        "marcidy/micropython-uasyncio-webexample#1",
        curl=False,
        chromium=False,
        reason="http_malformed",
    ),
    "chunks-in-http-1.0": Odd(
        answer(CHUNKED, body=chunks(), start=b"HTTP/1.0 200 OK"),
        "marcidy/micropython-uasyncio-webexample#1",
        curl=True,
        chromium=False,
        reason=None,
    ),
    "chunked-chunked": Odd(
        answer(CHUNKED + b", chunked", body=chunks()),
        "curl/curl#13461",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "chunked-on-two-lines": Odd(
        answer(CHUNKED, CHUNKED, body=chunks()),
        "nginx/nginx#304",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "packed-and-chunked": Odd(
        answer(b"Transfer-Encoding: gzip, chunked", body=chunks(PACKED)),
        "envoyproxy/envoy#15725",
        curl=True,
        chromium=False,
        reason=None,
    ),
    "coding-utf-8": Odd(
        answer(b"Content-Encoding: UTF-8", LENGTH),
        "encode/httpx#195",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "coding-none": Odd(
        answer(b"Content-Encoding: none", LENGTH),
        "apify/crawlee#976",
        curl=True,
        chromium=True,
        reason=None,
    ),
    "gzip-and-identity": Odd(
        answer(b"Content-Encoding: gzip, identity", body=PACKED),
        "urllib3/urllib3#5189",
        curl=False,
        chromium=False,
        reason=None,
        why="the bytes are gzip, and `identity` says nothing",
    ),
    "gzip-on-gzip": Odd(
        answer(b"Content-Encoding: gzip, gzip", body=gzip.compress(PACKED)),
        "yt-dlp/yt-dlp#7142",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "gzip-without-its-end": Odd(
        answer(b"Content-Encoding: gzip", body=PACKED[:-8]),
        "nodejs/node#5761",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "line-ends-after-gzip": Odd(
        answer(b"Content-Encoding: gzip", body=PACKED + b"\n \n\n"),
        "nodejs/node#7502",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "gzip-in-two-members": Odd(
        answer(
            b"Content-Encoding: gzip", body=gzip.compress(GOOD[:500]) + gzip.compress(GOOD[500:])
        ),
        "urllib3/urllib3#1289",
        curl=False,
        chromium=False,
        reason=None,
        why="RFC 1952, 2.2: a file may have several",
    ),
    "gzip-with-a-file's-name": Odd(
        answer(
            b"Content-Encoding: gzip",
            body=PACKED[:3] + b"\x08" + PACKED[4:10] + b"a\0" + PACKED[10:],
        ),
        "getpelican/pelican-plugins#243",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "deflate-without-zlib": Odd(
        answer(b"Content-Encoding: deflate", body=zlib.compress(GOOD)[2:-4]),
        "curl/curl#2719",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "redirect-in-utf-8": Odd(
        answer("Location: /bü".encode(), b"Content-Length: 0", body=b"", start=MOVED),
        "sagebind/isahc#315",
        curl=False,
        chromium=True,
        reason=None,
    ),
    "redirect-in-latin-1": Odd(
        answer(b"Location: /b\xfc", b"Content-Length: 0", body=b"", start=MOVED),
        "psf/requests#3888",
        curl=False,
        chromium=True,
        reason=None,
    ),
}
PAGES: dict[str, Page] = {
    **{f"/odd/{i}": raw(odd.data) for i, odd in enumerate(ANSWERS.values())},
    "/b%C3%BC": picture(),
    "/b%FC": picture(),
}
