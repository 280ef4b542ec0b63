"""tdmrep.json (W3C TDMRep), valid, malformed and missing, and Crawl-delay of robots.txt."""

import itertools
import json
import re

import pytest
from hazard import good
from hypothesis import given
from hypothesis import strategies as st
from wire_pages import flood, hang_up, redirect, stalled, status

from pipeline.fetch.web.tdmrep import PATH, matches, normal, parse_rules

RESERVED = "opted_out_tdm"
ON = {"tdmrep_json": True}
SHORT = {"first_byte_timeout": 0.5, "timeout": 0.5}
"""For files that do not come; names are looked up within the usual time."""


def says(*rules: tuple[str, object]):
    text = json.dumps([{"location": at, "tdm-reservation": value} for at, value in rules])
    return lambda h: h.answer(200, text.encode(), {"Content-Type": "application/json"})


def raw(text: bytes):
    return lambda h: h.answer(200, text)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (status(404), None), (status(403), None), (status(503), None), (hang_up, None),
        (stalled, None), (flood, None), (raw(b"<html>"), None), (raw(b"[" * 100_000), None),
        (raw(b"null"), None), (raw(b'[1, null, {"location": 3}]'), None),
        (says(("/", 1)), RESERVED), (says(("/a/", 1)), RESERVED), (says(("/b/", 1)), None),
        (says(("/*.jpg$", 1)), RESERVED), (says(("/a/", 0)), None),
        (says(("/a/", "1")), RESERVED), (says(("/a/", "0")), None),
        (says(("/a/", 0), ("/", 1)), None), (says(("/", 0), ("/a/b", 1)), RESERVED),
        (says(("/", 1), ("/a/", 0)), RESERVED),
        (redirect("/elsewhere.json"), RESERVED),
        (says(("/a/", True)), RESERVED), (says(("/a/", 1.0)), RESERVED), (says(("/a/", 2)), None),
        (says((["/x", "/a/"], 1)), RESERVED), (raw(b'[{"tdm-reservation": 1}]'), RESERVED),
        (raw(b'{"location": "/a/", "tdm-reservation": 1}'), RESERVED),
        (raw(b'[{"Location": "/a/", "TDM-Reservation": 1}]'), RESERVED),
        (raw(b'[{"location": "/a/", "tdm-reservation": 1,},]'), RESERVED),
        (raw(b"// all\n[{'location': '/', 'tdm-reservation': '1'}]"), RESERVED),
        (raw(b"[{'location': '/', 'tdm-reservation': 0}]"), None),
        (raw('[{"location": "/", "tdm-reservation": 1}]'.encode("utf-16")), RESERVED),
        (raw(b'\xef\xbb\xbf[{"location": "/", "tdm-reservation": 1, "tdm-policy": "x"}]'),
         RESERVED),
    ],
)  # fmt: skip
def test_what_tdmrep_json_reserves(page, reason, serve, run):
    site = serve({"/a/b.jpg": good, PATH: page, "/elsewhere.json": says(("/", 1))})
    neighbour = serve({"/b.jpg": good})
    outcome = run([f"{site.base}/a/b.jpg", f"{neighbour.base}/b.jpg"], ON | SHORT)
    assert outcome.reasons == [reason, None], outcome.rows
    assert outcome.rows[0]["tdm_reservation"] is bool(reason)
    assert site.requests["/a/b.jpg"] == (0 if reason else 1)


def test_it_is_asked_once_per_host_and_only_where_it_is_respected(serve, run):
    pages = {f"/{i}.jpg": good for i in range(10)} | {PATH: says(("/", 1))}
    for options, asked in ((ON, 1), ({"tdmrep_json": False}, 0),
                           (ON | {"respect_tdm_reservation": False}, 0)):  # fmt: skip
        site = serve(pages)
        outcome = run([f"{site.base}/{i}.jpg" for i in range(10)], options | {"thread_count": 8})
        assert site.requests[PATH] == asked
        assert set(outcome.reasons) == {RESERVED if asked else None}


def test_robots_txt_may_forbid_everything_without_it(serve, run):
    site = serve({"/a.jpg": good, "/robots.txt": raw(b"User-agent: *\nDisallow: /")})
    outcome = run([f"{site.base}/a.jpg"], ON)
    assert outcome.reasons == ["opted_out_robots_txt"]
    assert site.requests[PATH] == 0


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/", "/a", True), ("/a", "/ab", True), ("/a$", "/ab", False), ("/a$", "/a", True),
        ("/*/c", "/a/b/c/d", True), ("/*.jpg$", "/x.jpg?y", False), ("*", "/a", True),
        ("/a*a$", "/a", False), ("/a*$", "/abc", True), ("$", "/", False), ("b", "/b", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, path: str, expected: bool):
    assert matches(pattern, path) is expected


@given(st.text("ab/*$", max_size=8), st.text("ab/", max_size=10))
def test_patterns_are_matched_as_by_a_regular_expression(pattern: str, path: str):
    ends = pattern.endswith("$")
    body = re.escape(pattern[:-1] if ends else pattern).replace(r"\*", ".*")
    assert matches(pattern, path) is bool(re.match(body + ("$" if ends else ""), path))


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_none(body: bytes):
    assert isinstance(parse_rules(body), list)


def crawl_delay(value: str):
    return raw(f"User-agent: *\nCrawl-delay: {value}\n".encode())


def test_crawl_delay_is_kept_to(serve, run):
    site = serve({f"/{i}.jpg": good for i in range(4)} | {"/robots.txt": crawl_delay("0.4")})
    outcome = run([f"{site.base}/{i}.jpg" for i in range(4)], {"thread_count": 4})
    assert outcome.reasons == [None] * 4
    times = [at for at, path in site.order if path != "/robots.txt"]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > 0.3, gaps


@pytest.mark.parametrize(
    ("value", "options", "reason"),
    [
        ("3600", {}, "opted_out_robots_txt"), ("nan", {}, None),
        ("3600", {"max_crawl_delay": None}, None), ("2", {"max_crawl_delay": 1},
                                                    "opted_out_robots_txt"),
        ("3600", {"respect_robots_txt": False}, None), ("soon", {}, None), ("-5", {}, None),
        ("0", {}, None),
    ],
)  # fmt: skip
def test_a_delay_beyond_the_jobs_limit_is_a_refusal(value, options, reason, serve, run):
    site = serve({"/a.jpg": good, "/robots.txt": crawl_delay(value)})
    outcome = run([f"{site.base}/a.jpg"], options)
    assert outcome.reasons == [reason], outcome.rows
    assert site.requests["/a.jpg"] == (0 if reason else 1)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/bilder/ä/", "/bilder/%C3%A4/x.jpg"), ("/a%2db/", "/a-b/x.jpg"), ("/%c3%a4", "/%C3%A4")],
)
def test_paths_are_compared_in_normal_form(pattern: str, path: str):
    assert matches(normal(pattern), normal(path))
