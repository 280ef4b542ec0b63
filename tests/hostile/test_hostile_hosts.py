"""Hosts that fail many times in a row or ask for a pause get no requests for a while."""

import time
from itertools import pairwise

import pytest
from hazard import good
from loopback_site import Handler
from plain_scenes import GOOD
from shard_run import IMPATIENT
from wire_pages import after_refusals, hang_up, stalled, status

# One after the other, so that the order is known.
IN_TURN = {"thread_count": 1, "respect_robots_txt": False}

FAILING = {
    "500": (status(500), "http_server_error"),
    "429": (status(429), "http_rate_limited"),
    "hang-up": (hang_up, "connection_failed"),
    "silence": (stalled, "timeout"),
}


def _rows(site, count: int) -> list[str]:
    return [f"{site.base}/{i}.jpg" for i in range(count)]


@pytest.mark.parametrize("name", FAILING)
def test_a_host_that_keeps_failing_gets_no_more_requests(name, serve, run):
    page, reason = FAILING[name]
    site = serve({f"/{i}.jpg": page for i in range(8)})
    quiet = serve({"/good.jpg": good})
    options = IN_TURN | {"host_failures": 3} | (IMPATIENT if page is stalled else {})

    outcome = run([*_rows(site, 8), f"{quiet.base}/good.jpg"], options)

    assert outcome.reasons == [reason] * 3 + ["host_failing"] * 5 + [None], outcome.rows
    assert sum(site.requests.values()) == 3
    assert site.base.split("/")[2].split(":")[0] in outcome.rows[3]["error_message"]


def test_names_without_address_fail_too(run, loopback_dns):
    outcome = run(
        [f"http://nowhere.invalid./{i}.jpg" for i in range(5)],
        IN_TURN | {"host_failures": 2, "nameservers": ("127.0.0.1:1",), "connect_timeout": 0.2},
    )

    assert outcome.reasons == ["dns_failure"] * 2 + ["host_failing"] * 3, outcome.rows


def test_failures_that_do_not_concern_the_host_are_not_counted(serve, run):
    answers = [status(404), status(403), lambda h: h.answer(200, b"<html>"), status(410)]
    site = serve({f"/{i}.jpg": answers[i % 4] for i in range(12)})

    outcome = run(_rows(site, 12), IN_TURN | {"host_failures": 2})

    assert "host_failing" not in outcome.reasons
    assert sum(site.requests.values()) == 12


def test_a_success_between_failures_resets_the_count(serve, run):
    pages = {f"/{i}.jpg": (good if i % 3 == 2 else status(500)) for i in range(9)}
    site = serve(pages)

    outcome = run(_rows(site, 9), IN_TURN | {"host_failures": 3})

    assert outcome.reasons == ["http_server_error", "http_server_error", None] * 3
    assert sum(site.requests.values()) == 9


def test_a_failing_host_is_tried_again_after_the_cooldown(serve, run):
    """One thread alternates between hosts: two failures, a cooldown, then another try."""

    def nap(h: Handler) -> None:
        time.sleep(0.5)
        h.answer(200, GOOD)

    site = serve({f"/{i}.jpg": (status(500) if i < 2 else good) for i in range(4)})
    slow = serve({f"/{i}.jpg": nap for i in range(4)})
    urls = [url for pair in zip(_rows(site, 4), _rows(slow, 4), strict=True) for url in pair]

    outcome = run(urls, IN_TURN | {"host_failures": 2, "host_cooldown": 0.95})

    assert outcome.reasons[::2] == ["http_server_error", "http_server_error", "host_failing", None]
    assert outcome.reasons[1::2] == [None] * 4


def test_with_host_failures_null_no_host_is_avoided(serve, run):
    site = serve({f"/{i}.jpg": status(500) for i in range(12)})

    outcome = run(_rows(site, 12), IN_TURN | {"host_failures": None})

    assert outcome.reasons == ["http_server_error"] * 12
    assert sum(site.requests.values()) == 12


@pytest.mark.parametrize(
    ("code", "reason"), [(429, "http_rate_limited"), (503, "http_server_error")]
)
def test_a_host_with_a_long_retry_after_gets_no_more_requests(code, reason, serve, run):
    site = serve({f"/{i}.jpg": status(code, Retry_After="3600") for i in range(6)})
    quiet = serve({"/good.jpg": good})

    outcome = run([*_rows(site, 6), f"{quiet.base}/good.jpg"], IN_TURN | {"retries": 2})

    assert outcome.reasons == [reason] * 6 + [None], outcome.rows
    assert sum(site.requests.values()) == 1
    for row in outcome.rows[1:6]:
        assert "wait" in row["error_message"]
        assert any(second in row["error_message"] for second in ("3600", "3599", "3598"))
    assert outcome.seconds < 4


def test_all_rows_of_a_host_wait_for_a_short_retry_after(serve, run):
    pages = {f"/{i}.jpg": good for i in range(1, 6)}
    site = serve({"/0.jpg": after_refusals(429, 1, Retry_After="1")} | pages)

    outcome = run(_rows(site, 6), {"respect_robots_txt": False, "thread_count": 2, "retries": 1})

    assert outcome.reasons == [None] * 6, outcome.rows
    refused = next(when for when, path in site.order if path == "/0.jpg")
    # Requests already sent before the response may arrive; no new one is sent.
    assert not [when for when, _ in site.order if refused + 0.3 < when < refused + 0.9]


def test_requests_to_a_host_keep_per_host_rate(serve, run):
    site, other = (serve({f"/{i}.jpg": good for i in range(9)}) for _ in range(2))

    outcome = run([*_rows(site, 9), *_rows(other, 9)], {"per_host_rate": 10.0})

    assert outcome.reasons == [None] * 18
    for one in (site, other):
        times = [when for when, _ in one.order]
        assert len(times) == 10  # robots.txt too
        assert times[-1] - times[0] >= 0.8
        assert sum(b - a < 0.04 for a, b in pairwise(times)) <= 4  # allows for a slow machine
    assert outcome.seconds < 4  # in parallel


def test_a_host_has_at_most_per_host_connections(serve, run):
    now, most = [0], [0]

    def busy(h: Handler) -> None:
        with h.server.lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with h.server.lock:
            now[0] -= 1
        h.answer(200, GOOD)

    site = serve({f"/{i}.jpg": busy for i in range(40)})

    # 40 × 50 ms over two connections outlast the deadline: waiting for our own limit is no timeout.
    outcome = run(_rows(site, 40), {"per_host": 2, "thread_count": 12, "deadline": 0.8})

    assert outcome.reasons == [None] * 40, outcome.rows
    assert most[0] == 2
