"""Servers that never stop and never finish: the deadline is for the whole picture."""

import pytest
from hazard import assert_little_memory, good
from loopback_site import Page
from plain_scenes import GOOD
from wire_pages import OK, drip, drip_body

# Ten bytes a second never exceed a timeout between bytes.
SLOWLY = 0.1
LENGTH = str(len(GOOD))

PAGES: dict[str, Page] = {
    "one-byte-a-second": drip_body(GOOD, 1.0, Content_Length=LENGTH),
    "status-line": drip(b"HTTP/1.1 200 " + b"O" * 99, SLOWLY),
    "headers": drip(OK + b"X-Slow: " + b"a" * 99, SLOWLY),
    "body": drip_body(GOOD, SLOWLY, Content_Length=LENGTH),
    "body-without-length": drip_body(GOOD, SLOWLY),
    "chunk-size": drip_body(b"5;" + b"x" * 99, SLOWLY, Transfer_Encoding="chunked"),
    "chunks": drip_body(b"1\r\na\r\n" * 99, SLOWLY, Transfer_Encoding="chunked"),
    "refusal": drip(b"HTTP/1.1 404 Not Found\r\n" + b"X-Slow: " + b"a" * 99, SLOWLY),
    "redirect": drip(b"HTTP/1.1 302 Found\r\nLocation: /" + b"a" * 99, SLOWLY),
}


@pytest.fixture(scope="module")
def slow(serve, run):
    """All at once, each on another site, so that none waits for another."""
    sites = {name: serve({"/hazard": page}) for name, page in PAGES.items()}
    quiet = serve({"/good": good})
    urls = [f"{quiet.base}/good", *(f"{site.base}/hazard" for site in sites.values())]
    options = {"deadline": 1.0, "timeout": 3.0, "first_byte_timeout": 3.0, "retries": 5}
    outcome = run(urls, options)
    return sites, dict(zip(PAGES, outcome.rows[1:], strict=True)), outcome


@pytest.mark.parametrize("name", PAGES)
def test_slow_responses_end_at_the_deadline(name, slow):
    sites, rows, _ = slow

    assert rows[name]["fetch_reason"] == "timeout", rows[name]["error_message"]
    assert "1 s in total" in rows[name]["error_message"]
    assert sites[name].requests["/hazard"] == 1


def test_slow_responses_are_waited_for_in_parallel(slow):
    _, _, outcome = slow

    assert outcome.rows[0]["status"] == "success"
    assert 1.0 <= outcome.seconds < 4.0
    assert_little_memory(outcome, 48)
