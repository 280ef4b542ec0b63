"""Answers of every kind, by Hypothesis: each fetch ends, in time, with a picture or a reason.

The examples are the same in every run: what a change breaks, its author sees.
"""

import itertools
import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback_site import Site
from plain_scenes import GOOD

from pipeline.fetch.opener import retry_after
from pipeline.fetch.web.robots_txt import RobotsTxt
from pipeline.words.failure import FetchError
from pipeline.words.urls import check_url

FIXED = settings(
    derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
QUIET = {"respect_robots_txt": False, "host_failures": None, "deadline": 3.0}
NOT_THE_ANSWERS_FAULT = {"download_internal", "decoder_crash", "host_failing", "dns_failure"}
# An empty line among the headers ends them, so that the body is not a picture any more.
POSSIBLE_REASONS = {
    "opted_out_robots_tag",
    "opted_out_tdm",
    "http_malformed",
    "not_an_image",
    "too_large",
}
_hosts = itertools.count()

# Usual header values, and sometimes arbitrary ones.
_noise = st.binary(max_size=40)
_version = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"HTTP/1.", b"http/1.1", b"ICY"])
_code = st.sampled_from([b"200"] * 6 + [b"204", b"206", b"302", b"404", b"503", b"+200", b"2000"])
_status = st.builds(lambda v, c, w: v + b" " + c + b" " + w, _version, _code, _noise) | _noise
_name = st.sampled_from(
    [b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Connection", b"Location",
     b"Retry-After", b"X-Robots-Tag", b"TDM-Reservation", b"Content-Type", b"Set-Cookie"]
)  # fmt: skip
_value = st.sampled_from(
    [b"%d" % len(GOOD), b"0", b"-1", b"1e3", b"0x10", b"9" * 25, b" 5 , 5", b"chunked",
     b"gzip, chunked", b"identity", b"gzip", b"deflate", b"close", b"/0", b"//", b"\xff\xfe", b"",
     b"Fri, 31 Dec 1999 23:59:59 GMT", b"noai", b"1", b"\0", b"a\r b"]
)  # fmt: skip
_header = st.builds(lambda n, v: n + b": " + v, _name, _value) | _noise
_end = st.sampled_from([b"\r\n"] * 5 + [b"\n", b"\r", b"\r\n\t", b""])
_size = st.sampled_from([b"%x" % len(GOOD), b"0", b"-1", b"zz", b"f" * 20, b"5;a=b", b" 5", b""])
_chunk = st.builds(
    lambda size, data: size + b"\r\n" + data + b"\r\n", _size, _noise | st.just(GOOD)
)
_body = st.just(GOOD) | _noise | st.lists(_chunk, max_size=3).map(b"".join)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A status line, headers and a body, each well or badly formed."""
    lines = [draw(_status), *draw(st.lists(_header, max_size=5))]
    head = b"".join(line + draw(_end) for line in lines)
    whole = head + draw(_end) + draw(_body)
    return whole[: draw(st.sampled_from([len(whole)] * 4 + [0, 5, 20, 60, 600]))]


@pytest.fixture(scope="module")
def site(serve) -> Site:
    return serve({})


@given(batch=st.lists(answers(), min_size=12, max_size=12))
@settings(FIXED, max_examples=25)
def test_any_answer_ends_with_a_picture_or_a_reason(batch, site, run):
    """300 responses, in shards of twelve: each shard must be completed."""
    site.pages = {f"/{i}": (lambda h, data=data: h.raw(data)) for i, data in enumerate(batch)}

    # Each from another host, so that one Retry-After does not delay the others.
    roots = [site.under(f"host-{next(_hosts)}.test") for _ in batch]
    outcome = run([f"{root}/{i}" for i, root in enumerate(roots)], QUIET)

    for data, row in zip(batch, outcome.rows, strict=True):
        assert row["fetch_reason"] not in NOT_THE_ANSWERS_FAULT, (data, row["error_message"])
        if row["status"] == "success":
            assert row["bytes"] >= len(GOOD)
    assert outcome.seconds < 5


_refusal = st.sampled_from([b"X-Robots-Tag: noai", b"tdm-reservation : 1"])


@st.composite
def refusing_answers(draw: st.DrawFn) -> bytes:
    """An opt-out on its own line, among arbitrary headers."""
    before, after = (draw(st.lists(_header, max_size=4)) for _ in range(2))
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(line + draw(_end) for line in before)
    rest = b"".join(line + draw(_end) for line in after)
    return (
        head
        + b"\r\n" * (not head.endswith(b"\n"))
        + draw(_refusal)
        + b"\r\n"
        + rest
        + (b"\r\n\r\n" + GOOD)
    )


@given(batch=st.lists(refusing_answers(), min_size=12, max_size=12))
@settings(FIXED, max_examples=40)
def test_an_opt_out_is_found_among_any_headers(batch, site, run):
    site.pages = {f"/{i}": (lambda h, data=data: h.raw(data)) for i, data in enumerate(batch)}

    roots = [site.under(f"host-{next(_hosts)}.test") for _ in batch]
    outcome = run([f"{root}/{i}" for i, root in enumerate(roots)], QUIET)

    for data, row in zip(batch, outcome.rows, strict=True):
        assert row["fetch_reason"] in POSSIBLE_REASONS, (data, row["error_message"])


_day = st.sampled_from(["Fri, ", "Mon, ", "", "x, "])
_zone = st.sampled_from([" GMT", " -0000", " +9999", " -2400", "", " PST", " +0"])
_date = st.builds(
    lambda day, d, y, h, zone: f"{day}{d} Dec {y} {h}:59:59{zone}",
    _day, st.integers(0, 40), st.integers(0, 12_000), st.integers(0, 30), _zone,
)  # fmt: skip


@given(st.text(max_size=40) | st.integers().map(str) | _date)
@settings(FIXED, max_examples=600)
def test_any_retry_after_is_parsed_to_seconds(text):
    wait = retry_after(text)

    assert math.isfinite(wait)
    assert wait >= 0


_line = st.builds(
    lambda field, colon, value: field + colon + value,
    st.sampled_from(["User-agent", "Disallow", "Allow", "Sitemap", "Crawl-delay", "\ufeff"]),
    st.sampled_from([":", " : ", "", "::"]),
    st.sampled_from(["*", "winnow", "/", "/*$", "%zz", "%", "/a" * 99, "[", "\\", "?", "é", "\0"])
    | st.text(max_size=20),
)  # fmt: skip
_end_of_line = st.sampled_from(["\n", "\r\n", "\r", "\u2028"])
_robots = st.lists(st.builds(str.__add__, _line, _end_of_line), max_size=12).map("".join)


@given(_robots.map(lambda t: t.encode("utf-8", "surrogatepass")) | st.binary(max_size=200))
@settings(FIXED, max_examples=400)
def test_any_robots_txt_allows_or_forbids(body):
    robots = RobotsTxt(lambda url: (200, body), "winnow")
    started = time.monotonic()

    for text in ("http://a.test/", "http://a.test/a%2Fb/ü?q=[]#x", "http://a.test/" + "a" * 2000):
        try:
            robots.check(check_url(text))
        except FetchError as error:
            assert error.reason == "opted_out_robots_txt"  # noqa: PT017 - both ends are good
    assert time.monotonic() - started < 1
