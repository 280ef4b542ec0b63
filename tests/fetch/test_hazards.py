"""What servers do to a fetcher, one table: each hazard gets its reason, in time."""

import gzip
import time
import zlib
from dataclasses import dataclass
from typing import Any

import pytest
from loopback import closed_port
from misbehaviour import (
    GOOD,
    Page,
    after_refusals,
    chain,
    chunked,
    cut_chunk,
    endless,
    hang_up,
    no_http,
    picture,
    short_body,
    slow_body,
    slow_chunk_extension,
    slow_headers,
    stalled,
    status,
)
from plain_pictures import jpeg


@dataclass(frozen=True)
class Hazard:
    """A page, and what must come of it."""

    page: Page
    reason: str | None
    detail: str = ""
    requests: int = 1
    most: float = 4.0
    """Seconds that it may take."""
    least: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()


PASSING = (("retries", 2),)
BRIEF = (("deadline", 1.0),)
BOMB = gzip.compress(bytes(50_000_000))

HAZARDS: dict[str, Hazard] = {
    "good": Hazard(picture(), None),
    "404": Hazard(status(404), "http_not_found", "404 Not Found", options=PASSING),
    "410": Hazard(status(410), "http_not_found", "410 Gone", options=PASSING),
    "401": Hazard(status(401), "http_forbidden", options=PASSING),
    "403": Hazard(status(403), "http_forbidden", options=PASSING),
    "451": Hazard(status(451), "http_forbidden"),
    "418": Hazard(status(418), "http_client_error", "418"),
    "204": Hazard(status(204), "http_client_error", "204"),
    "206": Hazard(status(206), "http_client_error", "206"),
    "429-then-ok": Hazard(
        after_refusals(429, 1, Retry_After="1"), None, requests=2, least=1.0, options=PASSING
    ),
    "429-for-ever": Hazard(status(429), "http_rate_limited", requests=2, options=(("retries", 1),)),
    "429-tomorrow": Hazard(
        status(429, Retry_After="86400"), "http_rate_limited", most=4.0, options=PASSING
    ),
    "503-for-ever": Hazard(
        status(503), "http_server_error", "503", requests=3, least=1.5, most=5.0, options=PASSING
    ),
    "503-once": Hazard(after_refusals(503, 1), None, requests=2, options=PASSING),
    "408-once": Hazard(after_refusals(408, 1), None, requests=2, options=PASSING),
    "425-once": Hazard(after_refusals(425, 1), None, requests=2, options=PASSING),
    "stalled": Hazard(stalled, "timeout", "nothing for 0.5 s", least=0.4, most=4.0),
    "stalled-twice": Hazard(
        stalled, "timeout", requests=2, least=1.4, most=5.0, options=(("retries", 1),)
    ),
    "slow-headers": Hazard(slow_headers, "timeout", "1 s in total", most=4.0, options=BRIEF),
    "slow-body": Hazard(slow_body, "timeout", "1 s in total", most=4.0, options=BRIEF),
    "slow-chunk": Hazard(slow_chunk_extension, "timeout", "in total", most=4.0, options=BRIEF),
    "endless": Hazard(endless, "too_large", "more than 200000 bytes"),
    "says-too-long": Hazard(
        lambda h: h.answer(200, b"", {"Content-Length": "900000000"}), "too_large", "900000000"
    ),
    "says-longer": Hazard(short_body, "http_malformed", "600"),
    "says-shorter": Hazard(picture(GOOD, Content_Length="600"), "decode_error"),
    "chunked": Hazard(chunked, None),
    "chunk-cut": Hazard(cut_chunk, "http_malformed"),
    "gzip": Hazard(picture(gzip.compress(GOOD), Content_Encoding="gzip"), None),
    "deflate": Hazard(picture(zlib.compress(GOOD), Content_Encoding="deflate"), None),
    "raw-deflate": Hazard(picture(zlib.compress(GOOD)[2:-4], Content_Encoding="deflate"), None),
    "gzip-cut": Hazard(
        picture(gzip.compress(GOOD)[:-20], Content_Encoding="gzip"), "http_malformed", "cut short"
    ),
    "gzip-lie": Hazard(picture(GOOD, Content_Encoding="gzip"), "http_malformed", "compressed"),
    "gzip-bomb": Hazard(picture(BOMB, Content_Encoding="gzip"), "too_large"),
    "brotli": Hazard(picture(Content_Encoding="br"), "http_malformed", "br"),
    "hang-up": Hazard(hang_up, "connection_failed"),
    "no-http": Hazard(no_http, "http_malformed", "SSH"),
    "redirect": Hazard(status(301, Location="/good"), None),
    "redirect-5": Hazard(lambda h: h.answer(302, b"", {"Location": "/chain/3"}), None),
    "redirect-6": Hazard(
        lambda h: h.answer(302, b"", {"Location": "/chain/4"}), "redirect_limit", "more than 5"
    ),
    "redirect-loop": Hazard(status(302, Location="/redirect-loop"), "redirect_limit", "loop"),
    "redirect-nowhere": Hazard(status(302), "http_client_error", "without Location"),
    "redirect-inside": Hazard(
        status(302, Location="http://127.0.0.2:1/"), "address_forbidden", "127.0.0.2"
    ),
    "redirect-metadata": Hazard(
        status(302, Location="http://169.254.169.254/latest/"), "address_forbidden", "169.254"
    ),
    "redirect-file": Hazard(
        status(302, Location="file:///etc/passwd"), "scheme_forbidden", "redirect to"
    ),
    "redirect-broken": Hazard(status(302, Location="http://[::1/"), "url_invalid"),
    "noai": Hazard(picture(X_Robots_Tag="noai"), "opted_out_robots_tag", "noai", options=PASSING),
    "noml-2nd-line": Hazard(picture(X_Robots_Tag="nofollow\nnoml"), "opted_out_robots_tag", "noml"),
    "noai-unheeded": Hazard(
        picture(X_Robots_Tag="noai"), None, options=(("respect_robots_tag", 0),)
    ),
    "noai-for-others": Hazard(picture(X_Robots_Tag="googlebot: noai"), None),
    "html": Hazard(picture(b"<!DOCTYPE html><p>hi"), "not_an_image", "HTML"),
    "svg": Hazard(picture(b'<?xml version="1.0"?><svg xmlns=""/>'), "not_an_image", "SVG"),
    "empty": Hazard(picture(b""), "not_an_image", "no bytes"),
    "truncated-jpeg": Hazard(picture(GOOD[:-200]), "decode_error"),
    "tiny": Hazard(picture(jpeg(31, 40)), "image_too_small", "31×40"),
    "long": Hazard(picture(jpeg(400, 40)), "image_aspect_ratio", "400×40"),
}


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_gets_its_reason_in_time(name, serve, fetch, config):
    hazard = HAZARDS[name]
    pages = {f"/{name}": hazard.page, "/good": picture()}
    server = serve(pages | {f"/chain/{n}": chain for n in range(5)})
    started = time.monotonic()

    [result] = fetch([f"{server.base}/{name}"], config(**dict(hazard.options)))

    seconds = time.monotonic() - started
    assert result.reason == hazard.reason, result.message
    assert hazard.detail in (result.message or "")
    first = server.requests[f"/{name}"]
    assert first == hazard.requests
    assert hazard.least <= seconds <= hazard.most
    if hazard.reason is None:
        assert result.facts is not None
        assert result.facts.size == len(GOOD)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "url_invalid"),
        ("", "url_invalid"),
        ("no address", "url_invalid"),
        ("//example.com/a.jpg", "url_invalid"),
        ("http://", "url_invalid"),
        ("http://[::1/a.jpg", "url_invalid"),
        ("http://exa mple/a.jpg", "url_invalid"),
        ("http://host:99999999/", "url_invalid"),
        ("http://host/" + "a" * 9000, "url_invalid"),
        ("file:///etc/passwd", "scheme_forbidden"),
        ("FILE:///etc/passwd", "scheme_forbidden"),
        ("ftp://127.0.0.1/a.jpg", "scheme_forbidden"),
        ("data:image/gif;base64,R0lGODlh" + "A" * 9000, "scheme_forbidden"),
        ("javascript:alert(1)", "scheme_forbidden"),
        ("http://127.0.0.1:1/", "address_forbidden"),
        ("http://0x7f.1:1/", "address_forbidden"),
        ("http://2130706433:1/", "address_forbidden"),
        ("http://0177.0.0.1:1/", "address_forbidden"),
        ("http://localhost:1/", "address_forbidden"),
        ("http://[::1]:1/", "address_forbidden"),
        ("http://[::ffff:127.0.0.1]:1/", "address_forbidden"),
        ("http://[::ffff:7f00:1]:1/", "address_forbidden"),
        ("http://[64:ff9b::7f00:1]:1/", "address_forbidden"),
        ("http://10.0.0.1:1/", "address_forbidden"),
        ("http://100.64.0.1:1/", "address_forbidden"),
        ("http://169.254.169.254/latest/meta-data/", "address_forbidden"),
        ("http://0.0.0.0:1/", "address_forbidden"),
        ("https://user:secret@127.0.0.1:1/", "address_forbidden"),
        ("http://nowhere.invalid/", "dns_failure"),
    ],
)
def test_urls_that_lead_nowhere_allowed_are_refused(url, reason, fetch, config):
    [result] = fetch([url], config(allow_addresses=()))

    assert result.reason == reason, result.message
    assert "secret" not in (result.message or "")


def test_a_closed_port_is_a_failed_connection_and_not_retried(fetch, config):
    started = time.monotonic()

    [result] = fetch([f"http://127.0.0.1:{closed_port()}/"], config(retries=2))

    assert result.reason == "connection_failed", result.message
    assert time.monotonic() - started < 1.4


def test_details_carry_no_control_characters_and_end_somewhere(serve, fetch, config):
    server = serve({"/": lambda h: h.answer(302, b"", {"Location": "x:\x1b[2J\u0085" + "é" * 900})})

    [result] = fetch([f"{server.base}/"], config())

    assert result.reason == "scheme_forbidden"
    assert result.message is not None
    assert result.message.isprintable()
    assert len(result.message) <= 300
