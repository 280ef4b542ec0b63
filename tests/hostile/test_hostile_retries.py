"""Temporary failures are tried again after the right pauses; other failures are not."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hazard import good
from loopback_site import Handler, Page
from wire_pages import after_refusals, hang_up, reset, status

# Seconds before the second and the third try (with jitter), and tolerance for a busy machine.
SECOND, THIRD = (0.5, 1.0), (1.0, 2.0)
SLACK = 0.7


@dataclass(frozen=True)
class Tries:
    """A page, the reason of its row with two retries, and the pauses between the requests."""

    page: Page
    reason: str | None
    pauses: tuple[tuple[float, float], ...] = ()


def once(page: Page) -> Page:
    """The page for the first request, a picture from then on."""

    def either(h: Handler) -> None:
        (page if h.server.requests[h.path] == 1 else good)(h)

    return either


CASES: dict[str, Tries] = {
    "408": Tries(after_refusals(408, 1), None, (SECOND,)),
    "425": Tries(after_refusals(425, 1), None, (SECOND,)),
    "429": Tries(after_refusals(429, 1), None, (SECOND,)),
    "429-wait-1": Tries(after_refusals(429, 1, Retry_After="1"), None, ((1.0, 1.0),)),
    "429-twice": Tries(after_refusals(429, 2), None, (SECOND, THIRD)),
    "429-for-ever": Tries(status(429), "http_rate_limited", (SECOND, THIRD)),
    "429-until-tomorrow": Tries(status(429, Retry_After="86400"), "http_rate_limited"),
    "500": Tries(after_refusals(500, 1), None, (SECOND,)),
    "500-with-a-broken-date": Tries(
        after_refusals(500, 1, Retry_After="Fri, 99 Foo"), None, (SECOND,)
    ),
    "500-since-1999": Tries(
        after_refusals(500, 1, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"), None, (SECOND,)
    ),
    "503-wait-1": Tries(after_refusals(503, 1, Retry_After="1"), None, ((1.0, 1.0),)),
    "503-for-ever": Tries(status(503), "http_server_error", (SECOND, THIRD)),
    "503-until-2100": Tries(
        status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"), "http_server_error"
    ),
    "599-for-ever": Tries(status(599), "http_server_error", (SECOND, THIRD)),
    "hang-up": Tries(once(hang_up), None, (SECOND,)),
    "hang-up-for-ever": Tries(hang_up, "connection_failed", (SECOND, THIRD)),
    "reset": Tries(once(reset(b"")), None, (SECOND,)),
    "404": Tries(once(status(404)), "http_not_found"),
    "403": Tries(once(status(403, Retry_After="1")), "http_forbidden"),
    "418": Tries(once(status(418)), "http_client_error"),
    "206": Tries(once(status(206)), "http_client_error"),
    "noai": Tries(once(status(200, X_Robots_Tag="noai")), "opted_out_robots_tag"),
    "no-picture": Tries(once(status(200)), "not_an_image"),
}


@pytest.fixture(scope="module")
def tried(serve, run):
    """All at once, each on another site, so that no row waits for another's pauses.

    Without robots.txt the first request makes its connection: one on a kept connection that breaks
    is no try.
    """
    sites = {name: serve({"/hazard": case.page}) for name, case in CASES.items()}
    options = {"retries": 2, "deadline": 8.0, "thread_count": len(CASES)}
    options |= {"respect_robots_txt": False}
    outcome = run([f"{site.base}/hazard" for site in sites.values()], options)
    return sites, dict(zip(CASES, outcome.rows, strict=True)), outcome


@pytest.mark.parametrize("name", CASES)
def test_retries_and_their_pauses(name, tried):
    sites, rows, _ = tried
    case = CASES[name]
    times = [when for when, path in sites[name].order if path == "/hazard"]

    assert rows[name]["fetch_reason"] == case.reason, rows[name]["error_message"]
    assert len(times) == 1 + len(case.pauses)
    for (before, after), (least, most) in zip(pairwise(times), case.pauses, strict=True):
        assert least <= after - before + 0.01
        assert after - before <= most + SLACK


def test_pauses_have_jitter(tried):
    sites, _, _ = tried
    seconds = []
    for name, case in CASES.items():
        if SECOND in case.pauses:
            first, second = [w for w, path in sites[name].order if path == "/hazard"][:2]
            seconds.append(second - first)

    assert max(seconds) - min(seconds) > 0.1


def test_rows_wait_for_their_pauses_in_parallel(tried):
    _, _, outcome = tried

    assert 1.5 <= outcome.seconds < 6
