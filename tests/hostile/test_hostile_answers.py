"""A table of responses: each status and each malformed response gets its reason, in time."""

import pytest
from hazard import Hazard, assert_as_expected, by_options
from plain_scenes import GOOD
from wire_pages import OK, chunked, flood, picture, raw, status

PASSING = {"retries": 2}
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)


def _lines(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (i, b"a" * size) for i in range(count))


def _whole(head: bytes) -> bytes:
    return head + b"Connection: close\r\n\r\n" + GOOD


HAZARDS: dict[str, Hazard] = {
    "good": Hazard(picture(), None),
    "404": Hazard(status(404), "http_not_found", "404 Not Found", options=PASSING),
    "410": Hazard(status(410), "http_not_found", "410 Gone", options=PASSING),
    "401": Hazard(status(401), "http_forbidden", "401", options=PASSING),
    "403": Hazard(status(403), "http_forbidden", "403", options=PASSING),
    "451": Hazard(status(451), "http_forbidden", "451", options=PASSING),
    "400": Hazard(status(400), "http_client_error", "400", options=PASSING),
    "418": Hazard(status(418), "http_client_error", "418", options=PASSING),
    "204": Hazard(status(204), "http_client_error", "204", options=PASSING),
    "206": Hazard(status(206), "http_client_error", "206", options=PASSING),
    "304": Hazard(status(304), "http_client_error", "304", options=PASSING),
    # RFC 9110, 15: an invalid status is to be treated as a 5xx.
    "600": Hazard(raw(b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"), "http_server_error"),
    "99": Hazard(raw(b"HTTP/1.1 99 Low\r\n\r\n"), "http_malformed"),
    "status-in-words": Hazard(raw(b"HTTP/1.1 OK\r\n\r\n"), "http_malformed"),
    "not-http": Hazard(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "http_malformed", "SSH"),
    "a-picture-at-once": Hazard(raw(GOOD), "http_malformed"),
    "nothing-but-line-ends": Hazard(raw(b"\r\n\r\n\r\n"), "http_malformed"),
    "http-2-preface": Hazard(raw(b"\0\0\x12\4\0\0\0\0\0" + bytes(18)), "http_malformed"),
    "http-1.0-without-length": Hazard(raw(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD), None),
    "bare-line-feeds": Hazard(raw(b"HTTP/1.1 200 OK\nConnection: close\n\n" + GOOD), None),
    "status-without-words": Hazard(raw(_whole(b"HTTP/1.1 200\r\n")), None),
    "continue-first": Hazard(raw(b"HTTP/1.1 100 Continue\r\n\r\n" + _whole(OK)), None),
    "continue-for-ever": Hazard(
        flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "http_malformed"
    ),
    "headers-for-ever": Hazard(flood(OK, b"X-More: of it\r\n"), "http_malformed"),
    "header-for-ever": Hazard(flood(OK + b"X-Long: ", b"a" * 999), "http_malformed"),
    "status-line-for-ever": Hazard(flood(b"HTTP/1.1 200 ", b"a" * 999), "http_malformed"),
    "headers-below-the-cap": Hazard(
        raw(_whole(OK + _lines(20, 80))), None, options={"max_header_bytes": 2_500}
    ),
    "headers-above-the-cap": Hazard(
        # Far too long: bytes that arrived together with the body are not counted.
        raw(_whole(OK + _lines(30, 900))), "http_malformed", options={"max_header_bytes": 2_500}
    ),
    "headers-of-60-kB": Hazard(raw(_whole(OK + _lines(60, 1_000))), None),
    "headers-of-95-kB": Hazard(raw(_whole(OK + _lines(95, 1_000))), "http_malformed"),
    "headers-cut": Hazard(raw(OK + b"Content-Type: image/jp"), "http_malformed"),
    "length-too-long-by-far": Hazard(
        raw(OK + b"Content-Length: 900000000\r\n\r\n"), "too_large", "900000000"
    ),
    "length-of-60-digits": Hazard(
        raw(OK + b"Content-Length: " + b"9" * 60 + b"\r\n\r\n"), "too_large"
    ),
    "two-lengths": Hazard(raw(_whole(OK + LENGTH + b"Content-Length: 5\r\n")), "http_malformed"),
    "the-same-length-twice": Hazard(raw(_whole(OK + LENGTH + LENGTH)), None),
    "chunked": Hazard(chunked, None),
    "chunk-size-no-number": Hazard(
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + GOOD), "http_malformed"
    ),
    "chunk-size-negative": Hazard(
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + GOOD), "http_malformed"
    ),
    "chunk-size-for-ever": Hazard(
        flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 999), "http_malformed"
    ),
    "chunk-size-of-an-exabyte": Hazard(
        flood(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", GOOD), "too_large"
    ),
    "chunk-cut": Hazard(
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + GOOD[:500]), "http_malformed"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(HAZARDS))
def test_each_hostile_response_gets_its_reason_in_time(name, serve, run):
    outcome = assert_as_expected(HAZARDS[name], serve, run)

    if HAZARDS[name].reason is None:
        assert outcome.rows[1]["bytes"] == len(GOOD)
