"""Heads of answers that break RFC 9112: no line hides another, and no line is read for what it
is not.

Each is read with every line that can be read, or refused as a whole: what a site says about the
use of its pictures, and how long a body is, must not depend on what comes before it.
"""

import pytest
from plain_scenes import GOOD
from wire_pages import raw

OK = b"HTTP/1.1 200 OK"
TAG, TDM, BAD = "opted_out_robots_tag", "opted_out_tdm", "http_malformed"
NOAI = b"X-Robots-Tag: noai"

ODD: dict[str, bytes] = {
    "space-in-the-name": b"X Odd: y",
    "space-in-the-name-and-a-fold": b"X Odd: y\r\n of two lines",
    "no-colon": b"odd",
    "no-name": b": odd",
    "no-name-but-spaces": b"x: y\r\n : odd",
    "only-spaces": b"X-A: b\r\n \t ",
    "spaces-at-once": b" \t ",
    "name-in-latin-1": b"X-\xd6dd: y",
    "name-in-utf-8": "X-Ödd: y".encode(),
    "byte-order-mark": b"\xef\xbb\xbfX-A: b",
    "brackets": b"X(odd): y",
    "control-character": b"\x01\x02",
    "html": b"<html>",
    "envelope": b"From somebody Thu Jan  1 00:00:00 1970",
    "status-line-again": OK,
    "many": b"odd\r\n" * 120 + b"odd",
}
SAID: dict[str, tuple[bytes, str]] = {"tag": (NOAI, TAG), "tdm": (b"TDM-Reservation: 1", TDM)}
LONGER = b"Content-Length: %d" % (len(GOOD) + 1)


def _answer(*lines: bytes, body: bytes = GOOD, start: bytes = OK, end: bytes = b"\r\n") -> bytes:
    return end.join([start, *lines, b"", b""]) + body


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
MOVED = b"HTTP/1.1 302 Found"

# A response, and the reason of its row; None: it succeeds.
HEADS: dict[str, tuple[bytes, str | None]] = {
    # Lines in forms that RFC 9112 allows a reader to accept.
    "space-before-the-colon": (_answer(b"X-Robots-Tag : noai"), TAG),
    "tab-before-the-colon": (_answer(b"TDM-Reservation\t: 1"), TDM),
    "no-space-after-the-colon": (_answer(b"X-Robots-Tag:noai"), TAG),
    "many-spaces-after-the-colon": (_answer(b"X-Robots-Tag: \t  noai  "), TAG),
    "in-capitals": (_answer(b"X-ROBOTS-TAG: NOAI"), TAG),
    "folded-before-the-word": (_answer(b"X-Robots-Tag:\r\n noai"), TAG),
    "folded-among-words": (_answer(b"X-Robots-Tag: nofollow,\r\n\tnoai"), TAG),
    "folded-twice": (_answer(b"X-Robots-Tag: nofollow,\r\n noarchive,\r\n  noai"), TAG),
    "folded-by-a-blank-line": (_answer(b"X-Robots-Tag: nofollow,\r\n \r\n noai"), TAG),
    "folded-number": (_answer(b"TDM-Reservation:\r\n 1"), TDM),
    "folded-length": (_answer(b"Content-Length:\r\n %d" % (len(GOOD) + 1)), BAD),
    "folded-away": (_answer(b"X-A: b\r\n X-Robots-Tag: noai"), None),
    "line-feeds": (_answer(b"odd", NOAI, end=b"\n"), TAG),
    "line-feeds-and-others": (_answer(b"X-A: b\nodd\nTDM-Reservation: 1\nX-B: c"), TDM),
    "line-ends-doubled": (_answer(b"X-A: b\r\r\n" + NOAI + b"\r"), TAG),
    "line-ends-doubled-throughout": (_answer(b"X-A: b", NOAI, end=b"\r\r\n"), TAG),
    "line-ends-doubled-and-no-opt-out": (_answer(b"X-A: b", end=b"\r\r\n"), None),
    "twice": (_answer(b"X-Robots-Tag: all", NOAI), TAG),
    "twice-reserved": (_answer(b"TDM-Reservation: 0", b"TDM-Reservation: 1"), TDM),
    "99-lines-before": (_answer(*[b"X-%d: y" % i for i in range(98)], NOAI), TAG),
    "latin-1-in-a-value": (_answer(b"X-A: \xff\xfe", NOAI), TAG),
    "controls-in-a-value": (_answer(b"X-A: \x0b\x0c\x1c\x1d\x1e\x85", NOAI), TAG),
    "early-hints-first": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _answer(NOAI), TAG),
    "early-hints-and-a-picture": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + _answer(), None),
    "multipart": (_answer(b"Content-Type: multipart/mixed; boundary=x", NOAI), TAG),
    "early-hints-that-opt-out": (
        b"HTTP/1.1 103 Early Hints\r\nX-Robots-Tag: noai\r\n\r\n" + _answer(), TAG
    ),
    "continue-that-reserves": (
        b"HTTP/1.1 100 Continue\r\nodd\r\nTDM-Reservation: 1\r\n\r\n" + _answer(), TDM
    ),
    "trailer-that-opts-out": (
        _answer(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + NOAI + b"\r\n\r\n"), TAG
    ),
    "trailer-after-an-odd-one": (
        _answer(
            b"Transfer-Encoding: chunked",
            body=CHUNKED[:-2] + b"X Odd: y\r\nTDM-Reservation: 1\r\n\r\n",
        ), TDM
    ),
    "trailer-that-cannot-be-read": (
        _answer(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"X-Robots-Tag noai\r\n\r\n"),
        BAD,
    ),
    "trailers-for-ever": (
        _answer(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"X: y\r\n" * 20_000), BAD
    ),
    "named-with-underscores": (_answer(b"X_Robots_Tag: noai"), TAG),
    "named-without-the-s": (_answer(b"X-Robot-Tag: noai"), TAG),
    "named-without-the-x": (_answer(b"Robots-Tag: noai"), TAG),
    "named-with-an-x": (_answer(b"X-TDM-Reservation: 1"), TDM),
    "named-as-another": (_answer(b"X-Robots-Tagged: noai"), None),
    # Malformed lines that may be an opt-out.
    "named-with-spaces": (_answer(b"X Robots Tag: noai"), BAD),
    "named-in-quotation-marks": (_answer(b'"TDM-Reservation": 1'), BAD),
    "location-in-a-malformed-line": (_answer(b"Geo Location: DE"), None),
    "opt-out-without-colon": (_answer(b"X-Robots-Tag noai"), BAD),
    "opt-out-after-a-byte-order-mark": (_answer(b"\xef\xbb\xbfX-Robots-Tag: noai"), BAD),
    "opt-out-after-a-no-break-space": (_answer(b"\xa0TDM-Reservation: 1"), BAD),
    "opt-out-folded-into-a-malformed-line": (_answer(b"odd\r\n X-Robots-Tag: noai"), BAD),
    "opt-out-first-and-indented": (_answer(b" X-Robots-Tag: noai"), BAD),
    "length-without-colon": (_answer(b"Content-Length 5"), None),
    # Characters that RFC 9110 (5.5) calls dangerous.
    "zero-byte": (_answer(b"X-A: b\0"), BAD),
    "zero-byte-in-an-opt-out": (_answer(b"X-Robots-Tag: no\0ai"), BAD),
    "return-in-a-value": (_answer(b"X-A: b\rX-Robots-Tag: noai"), BAD),
    "return-in-a-name": (_answer(b"X-Ro\rbots-Tag: noai"), BAD),
    "returns-for-line-ends": (_answer(NOAI, end=b"\r"), BAD),
    "another-status-line": (_answer(b"HTTP/1.1 403 Forbidden"), BAD),
    # Truncated and too long heads.
    "cut": (OK + b"\r\nX-A: b\r\n", BAD),
    "cut-in-a-name": (OK + b"\r\nX-A: b\r\nX-Rob", BAD),
    "cut-redirect": (MOVED + b"\r\nLocation: /good\r\nX-Rob", BAD),
    "cut-refusal": (b"HTTP/1.1 404 Not Found\r\nX-A", BAD),
    "120-lines": (_answer(*[b"X-%d: y" % i for i in range(120)], NOAI), TAG),
    "120-lines-and-no-opt-out": (_answer(*[b"X-%d: y" % i for i in range(120)]), None),
    # The body's length (RFC 9112, 6.3).
    # One that is no number is none: the body ends with the connection, as in Chromium.
    "length-negative": (_answer(b"Content-Length: -1"), None),
    "length-with-a-sign": (_answer(b"Content-Length: +%d" % len(GOOD)), None),
    "length-with-underscores": (_answer(b"Content-Length: 1_0"), None),
    "length-in-words": (_answer(b"Content-Length: long"), None),
    "length-empty": (_answer(b"Content-Length:"), None),
    "length-with-a-rest": (_answer(b"Content-Length: %d;" % len(GOOD)), None),
    "length-with-a-rest-too-long": (_answer(b"Content-Length: %d;" % (len(GOOD) + 1)), BAD),
    "length-and-none": (_answer(b"Content-Length: %d" % len(GOOD), b"Content-Length: x"), BAD),
    "length-listed-twice": (_answer(b"Content-Length: %d, %d" % (len(GOOD), len(GOOD))), None),
    "length-listed-twice-too-long": (
        _answer(b"Content-Length: %d, %d" % (len(GOOD) + 1, len(GOOD) + 1)), BAD
    ),
    "length-with-zeros-before": (_answer(b"Content-Length: %030d" % len(GOOD)), None),
    "length-of-6000-digits": (_answer(b"Content-Length: " + b"9" * 6_000), "too_large"),
    "lengths-that-differ": (_answer(b"Content-Length: %d, 5" % len(GOOD)), BAD),
    "chunked": (_answer(b"Transfer-Encoding: Chunked ", body=CHUNKED), None),
    "chunked-despite-a-length": (
        _answer(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=CHUNKED), None
    ),
    "chunked-folded": (_answer(b"Transfer-Encoding:\r\n chunked", body=CHUNKED), None),
    "chunked-and-cut": (_answer(b"Transfer-Encoding: chunked", body=CHUNKED[:-5]), BAD),
    "chunked-twice": (_answer(b"Transfer-Encoding: chunked, chunked", body=CHUNKED), None),
    "chunked-by-line-feeds": (
        _answer(b"Transfer-Encoding: chunked", body=CHUNKED.replace(b"\r\n", b"\n")), None
    ),
    "chunk-size-in-hex-notation": (
        _answer(b"Transfer-Encoding: chunked", body=b"0x" + CHUNKED), BAD
    ),
    "chunk-size-with-a-sign": (_answer(b"Transfer-Encoding: chunked", body=b"+" + CHUNKED), BAD),
    "chunk-longer-than-its-size": (
        _answer(b"Transfer-Encoding: chunked", body=b"5\r\n" + GOOD + b"\r\n0\r\n\r\n"), BAD
    ),
    "chunks-end-without-a-line": (_answer(b"Transfer-Encoding: chunked", body=CHUNKED[:-2]), BAD),
    "coded-and-chunked": (_answer(b"Transfer-Encoding: gzip, chunked", body=CHUNKED), BAD),
    "coded-otherwise": (_answer(b"Transfer-Encoding: xchunked"), None),
    "not-coded": (_answer(b"Transfer-Encoding: identity"), None),
    "not-coded-and-too-long": (_answer(b"Transfer-Encoding: identity", LONGER), BAD),
    # The status line.
    "status-with-a-sign": (_answer(start=b"HTTP/1.1 +200 OK"), BAD),
    "status-with-underscores": (_answer(start=b"HTTP/1.1 2_00 OK"), BAD),
    "line-end-before-it": (b"\r\n" + _answer(), None),
    "line-end-and-opt-out": (b"\r\n" + _answer(NOAI), TAG),
    "line-ends-before-it": (b"\r\n\r\n\r\n" + _answer(), BAD),
    "in-small-letters": (_answer(NOAI, start=b"http/1.1 200 ok"), TAG),
    "of-http-2": (_answer(NOAI, start=b"HTTP/2 200"), TAG),
    "without-version": (_answer(NOAI, start=b"HTTP 200 OK"), TAG),
    "status-and-words-in-one": (_answer(NOAI, start=b"HTTP/1.1 200OK"), TAG),
    "zero-byte-in-it": (_answer(start=b"HTTP/1.1 200 O\0K"), BAD),
    "return-in-it": (_answer(start=b"HTTP/1.1 200 OK\rX-Robots-Tag: noai"), BAD),
}  # fmt: skip
# Each malformed line before each line that has an effect.
for _odd, _line in ODD.items():
    for _what, (_said, _reason) in SAID.items():
        HEADS[f"{_odd}-before-{_what}"] = _answer(_line, _said), _reason
    HEADS[f"{_odd}-before-length"] = _answer(_line, LONGER), BAD
    HEADS[f"{_odd}-before-chunked"] = (
        _answer(_line, b"Transfer-Encoding: chunked", body=CHUNKED), None
    )  # fmt: skip
    HEADS[f"{_odd}-before-packed"] = _answer(_line, b"Content-Encoding: gzip"), BAD
    HEADS[f"{_odd}-before-a-redirect"] = (
        _answer(_line, b"Location: /good", b"Content-Length: 4", body=b"gone", start=MOVED),
        None if _line != OK else BAD,  # two contradicting status lines
    )  # fmt: skip
    HEADS[f"{_odd}-before-nothing"] = _answer(_line), None


@pytest.fixture(scope="module")
def rows(serve, run):
    pages = {f"/{i}": raw(data) for i, (data, _) in enumerate(HEADS.values())}
    site = serve(pages | {"/good": raw(_answer())})
    outcome = run([f"{site.base}{path}" for path in pages], {"host_failures": None})
    return dict(zip(HEADS, outcome.rows, strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_each_response_head_is_read_or_refused(name, rows):
    row = rows[name]

    assert row["fetch_reason"] == HEADS[name][1], row["error_message"]
    assert row["bytes"] == (len(GOOD) if row["fetch_reason"] is None else None)


@pytest.mark.parametrize("odd", ["space-in-the-name", "no-colon"])
def test_retry_after_is_found_after_a_malformed_line(odd, serve, run):
    refusal = _answer(ODD[odd], b"Retry-After: 1", start=b"HTTP/1.1 503 Busy", body=b"")

    def page(h):
        h.raw(refusal if h.server.requests[h.path] == 1 else _answer())

    site = serve({"/a": page})
    outcome = run([f"{site.base}/a"], {"retries": 1})

    assert outcome.reasons == [None], outcome.rows
    (first, _), (second, _) = [entry for entry in site.order if entry[1] == "/a"]
    assert second - first >= 1


def test_a_robots_txt_with_a_malformed_header_line_is_respected(serve, run):
    rules = b"User-agent: *\nDisallow: /"
    packed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(rules), rules)
    robots = _answer(b"X Odd: y", b"Transfer-Encoding: chunked", body=packed)
    site = serve({"/robots.txt": raw(robots), "/a": raw(_answer())})

    outcome = run([f"{site.base}/a"], {})

    assert outcome.reasons == ["opted_out_robots_txt"]
    assert site.requests["/a"] == 0


def test_early_hints_do_not_disturb_the_next_request(serve, run):
    """An unread response on a kept connection would be taken for that of another URL."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    length = b"Content-Length: %d" % len(GOOD)

    def page(h):
        h.wfile.write(hints)
        h.server.closing.wait(0.05)
        h.wfile.write(_answer(length, NOAI) if h.path == "/no" else _answer(length))

    site = serve({"/no": page, "/a": page, "/b": page})
    outcome = run([f"{site.base}{path}" for path in ("/a", "/no", "/b")], {"per_host": 1})

    assert outcome.reasons == [None, TAG, None], outcome.rows


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: %d" % len(GOOD), b"odd"),
        (b"Content-Length: %d;" % len(GOOD),),
        (b"Content-Length: %d" % len(GOOD), b"Content-Length: %d" % len(GOOD)),
        (b"X-A: b\r\n c", b"Content-Length: %d" % len(GOOD)),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    ],
)
def test_a_connection_is_not_used_again_after_an_uncertain_length(lines, serve, run):
    """What such a server sends next may be the rest of this answer."""

    def page(h):
        h.wfile.write(_answer(*lines, body=CHUNKED if b"chunked" in lines[-1] else GOOD))

    site = serve({f"/{i}": page for i in range(3)})
    outcome = run([f"{site.base}/{i}" for i in range(3)],
                  {"per_host": 1, "respect_robots_txt": False})  # fmt: skip

    assert outcome.reasons == [None] * 3, outcome.rows
    assert site.connections == 3
