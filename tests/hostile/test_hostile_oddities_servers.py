"""Answers after public bug reports: a picture is what curl or a browser shows without complaint."""

import pytest
from loopback_site import Site
from odd_answers import ANSWERS, PAGES, Odd
from plain_scenes import GOOD
from viewers import CHROMIUM, CURL, ask_chromium, ask_curl

PATHS = {name: f"/odd/{i}" for i, name in enumerate(ANSWERS)}


@pytest.fixture(scope="module")
def rows(serve, run):
    site = serve(PAGES)
    outcome = run([f"{site.base}{path}" for path in PATHS.values()], {"host_failures": None})
    return dict(zip(ANSWERS, outcome.rows, strict=True))


@pytest.mark.parametrize("name", ANSWERS)
def test_each_odd_answer_is_a_picture_or_has_its_reason(name, rows):
    odd, row = ANSWERS[name], rows[name]

    assert row["fetch_reason"] == odd.reason, (odd.source, row["error_message"])
    if odd.reason is None:
        assert row["bytes"] == len(GOOD)


@pytest.mark.parametrize("name", ANSWERS)
def test_we_differ_from_curl_and_the_browser_only_with_a_reason(name):
    odd: Odd = ANSWERS[name]

    assert odd.agrees or odd.why, odd.source


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_still_says_what_the_table_says():
    with Site(PAGES) as site:
        found = {name: ask_curl(site.base + path) == GOOD for name, path in PATHS.items()}

    assert found == {name: odd.curl for name, odd in ANSWERS.items()}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_chromium_still_says_what_the_table_says():
    shown = ask_chromium(PAGES, list(PATHS.values()))

    found = {name: shown[path] is not None for name, path in PATHS.items()}
    assert found == {name: odd.chromium for name, odd in ANSWERS.items()}
