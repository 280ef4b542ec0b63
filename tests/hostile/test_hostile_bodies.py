"""Response bodies: none, too long, too short, or compressed."""

import gzip
import zlib

import pytest
from hazard import Hazard, assert_as_expected, by_options
from plain_scenes import GOOD
from shard_run import IMPATIENT
from wire_pages import (
    OK,
    flood,
    half_then_stalled,
    hang_up,
    picture,
    raw,
    reset,
    stalled,
)

ONCE_MORE = IMPATIENT | {"retries": 1}
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
NO_CODINGS = ("utf-8", "none", "binary", "aws-chunked", "identity, utf-8", "UTF-8", "null",
              "base64", "8bit", "iso-8859-1", "image/jpeg", "*", "compress", "")  # fmt: skip
BOMB = gzip.compress(bytes(50_000_000))


def _packed(times: int) -> bytes:
    body = GOOD
    for _ in range(times):
        body = gzip.compress(body)
    return body


HAZARDS: dict[str, Hazard] = {
    "no-reply": Hazard(stalled, "timeout", "0.5 s", least=0.5, options=IMPATIENT),
    "no-reply-twice": Hazard(
        stalled, "timeout", requests=2, least=1.5, options=ONCE_MORE
    ),
    "first-byte-late": Hazard(
        lambda h: h.drip(OK + LENGTH + b"\r\n" + GOOD[:1], 1.5),
        "timeout", "0.5 s", least=0.5, options={"first_byte_timeout": 0.5},
    ),
    "half-a-body": Hazard(
        half_then_stalled, "timeout", "0.5 s", least=0.5, options=IMPATIENT
    ),
    "endless": Hazard(flood(OK + b"\r\n", bytes(65536)), "too_large", "more than 200000 bytes"),
    "endless-after-a-picture": Hazard(flood(OK + b"\r\n" + GOOD, bytes(65536)), "too_large"),
    "endless-refusal": Hazard(
        flood(b"HTTP/1.1 404 Not Found\r\n\r\n", bytes(65536)), "http_not_found"
    ),
    "endless-redirect": Hazard(
        flood(b"HTTP/1.1 302 Found\r\nLocation: /good\r\n\r\n", bytes(65536)), None
    ),
    "says-longer": Hazard(raw(OK + LENGTH + b"\r\n" + GOOD[:600]), "http_malformed", "600"),
    "says-shorter": Hazard(picture(Content_Length="600"), "decode_error"),
    "cut-without-length": Hazard(raw(OK + b"\r\n" + GOOD[:-200]), "decode_error"),
    # Once on the connection kept since robots.txt, which may be closed already, once on a new one.
    "hang-up": Hazard(hang_up, "connection_failed", requests=2),
    "reset-at-once": Hazard(reset(b""), "connection_failed", requests=2),
    "reset-in-headers": Hazard(reset(OK + b"X-A: b\r\n"), "connection_failed"),
    "reset-in-body": Hazard(reset(OK + LENGTH + b"\r\n" + GOOD[:500]), "connection_failed"),
    "no-bytes": Hazard(picture(b""), "not_an_image", "no bytes"),
    "gzip": Hazard(picture(gzip.compress(GOOD), Content_Encoding="gzip"), None),
    "x-gzip": Hazard(picture(gzip.compress(GOOD), Content_Encoding="X-GZIP"), None),
    "deflate": Hazard(picture(zlib.compress(GOOD), Content_Encoding="deflate"), None),
    "raw-deflate": Hazard(picture(zlib.compress(GOOD)[2:-4], Content_Encoding="deflate"), None),
    "identity": Hazard(picture(Content_Encoding="identity"), None),
    "gzip-without-saying": Hazard(picture(gzip.compress(GOOD)), "not_an_image", "gzip"),
    "gzip-cut": Hazard(
        picture(gzip.compress(GOOD)[:-20], Content_Encoding="gzip"), "http_malformed", "cut short"
    ),
    "gzip-lie": Hazard(picture(Content_Encoding="gzip"), "http_malformed", "compressed"),
    "gzip-twice": Hazard(
        picture(gzip.compress(gzip.compress(GOOD)), Content_Encoding="gzip, gzip"), None
    ),
    "gzip-six-times": Hazard(
        picture(_packed(6), Content_Encoding=",".join(["gzip"] * 6)),
        "http_malformed",
    ),
    "gzip-bomb-in-gzip": Hazard(
        picture(gzip.compress(BOMB), Content_Encoding="gzip, gzip"), "too_large", "200000"
    ),
    "gzip-of-a-million-members": Hazard(
        picture(gzip.compress(b"") * 9_000, Content_Encoding="gzip"), "not_an_image"
    ),
    "gzip-said-once-more": Hazard(
        picture(gzip.compress(GOOD), Content_Encoding="gzip, gzip"), "http_malformed"
    ),
    "gzip-with-a-wrong-sum": Hazard(
        picture(gzip.compress(GOOD)[:-8] + bytes(8), Content_Encoding="gzip"), None
    ),
    "gzip-in-quotation-marks": Hazard(
        picture(gzip.compress(GOOD), Content_Encoding='"gzip"'), None
    ),
    "gzip-of-quality": Hazard(picture(gzip.compress(GOOD), Content_Encoding="gzip;q=1"), None),
    "gzip-header-cut": Hazard(
        picture(gzip.compress(GOOD)[:3], Content_Encoding="gzip"), "http_malformed"
    ),
    "deflate-without-sum": Hazard(
        picture(zlib.compress(GOOD)[:-4], Content_Encoding="deflate"), None
    ),
    "deflate-lie": Hazard(picture(Content_Encoding="deflate"), "http_malformed", "not deflate"),
    "zstd": Hazard(picture(Content_Encoding="zstd"), "http_malformed", "zstd"),
    **{
        f"no-coding-{name}": Hazard(picture(Content_Encoding=name), None)
        for name in NO_CODINGS
    },
    "gzip-bomb": Hazard(picture(BOMB, Content_Encoding="gzip"), "too_large", "200000"),
    "brotli": Hazard(picture(Content_Encoding="br"), "http_malformed", "br"),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(HAZARDS))
def test_each_hostile_body_gets_its_reason_in_time(name, serve, run):
    outcome = assert_as_expected(HAZARDS[name], serve, run)

    if HAZARDS[name].reason is None:
        assert outcome.rows[1]["bytes"] == len(GOOD)
