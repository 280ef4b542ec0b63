"""Host names with false, changing or missing addresses, from our own DNS server."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hazard import good
from hostile_dns import (
    Answer,
    HostileDns,
    addresses,
    alias,
    garbage,
    of_another_question,
    refused,
    silent,
    truncated,
)
from plain_scenes import GOOD
from wire_pages import redirect

PRIVATE = "10.0.0.1"
# robots.txt would need another connection, and connections are counted here.
PLAIN = {"respect_robots_txt": False, "thread_count": 1}


LOOKUPS: dict[str, tuple[Answer, str | None, str]] = {
    "private": (addresses(PRIVATE), "address_forbidden", PRIVATE),
    "private-behind-an-alias": (alias("inner.test", PRIVATE), "address_forbidden", PRIVATE),
    "cloud-metadata": (addresses("169.254.169.254"), "address_forbidden", "169.254.169.254"),
    "private-beside-allowed": (addresses(PRIVATE, "127.0.0.1"), None, ""),
    "allowed-behind-an-alias": (alias("elsewhere.test", "127.0.0.1"), None, ""),
    "only-ipv6-loopback": (addresses("::1"), "address_forbidden", "::1"),
    "only-mapped-ipv6": (addresses("::ffff:10.0.0.1"), "address_forbidden", "10.0.0.1"),
    "no-such-name": (refused("NXDOMAIN"), "dns_failure", ""),
    "no-address": (addresses(), "dns_failure", ""),
    "server-failed": (refused("SERVFAIL"), "dns_failure", ""),
    "server-refused": (refused("REFUSED"), "dns_failure", ""),
    "alias-to-nothing": (alias("void.test"), "dns_failure", ""),
    "alias-to-itself": (alias("alias-to-itself.test"), "dns_failure", ""),
    "cut-short": (truncated, "dns_failure", ""),
    "another-question": (of_another_question, "dns_failure", ""),
    "garbage": (garbage, "dns_failure", ""),
    "silence": (silent, "dns_failure", ""),
}
# Names for which no valid answer ever comes.
IN_VAIN = ("cut-short", "another-question", "garbage", "silence")
CHANGING = [addresses("127.0.0.1", ttl=0), addresses(PRIVATE, ttl=0)]
NAMES: dict[str, Sequence[Answer]] = {
    **{f"{name}.test": [answer] for name, (answer, _, _) in LOOKUPS.items()},
    "void.test": [addresses()],
    "once.test": CHANGING,
    "thrice.test": CHANGING,
    "kept.test": CHANGING,
    "robots.test": CHANGING,
    "minute.test": [addresses("127.0.0.1", ttl=60), addresses(PRIVATE, ttl=60)],
}


@pytest.fixture(scope="module")
def dns() -> Iterator[HostileDns]:
    with HostileDns(NAMES, refused("NXDOMAIN")) as server:
        yield server


@pytest.fixture(scope="module")
def options(dns: HostileDns) -> dict[str, Any]:
    """Options that make the stage use that DNS server."""
    return PLAIN | {"nameservers": (dns.address,)}


def closing(h: Any) -> None:
    """A picture; the connection is closed afterwards."""
    h.close_connection = True
    h.answer(200, GOOD, {"Connection": "close"})


def test_the_connection_goes_to_the_address_that_was_checked(serve, run, dns, options):
    site = serve({"/a": closing})

    outcome = run([f"{site.under('once.test')}/a"], options)

    assert outcome.reasons == [None], outcome.rows
    assert dns.questions["once.test", "A"] == 1  # one query for the check and the connection
    assert site.headers["Host"] == f"once.test:{site.port}"


def test_a_name_whose_address_changed_is_checked_again(serve, run, dns, options):
    site = serve({f"/{i}": closing for i in range(3)})

    outcome = run([f"{site.under('thrice.test')}/{i}" for i in range(3)], options)

    assert outcome.reasons == [None, "address_forbidden", "address_forbidden"], outcome.rows
    assert f"thrice.test resolves to {PRIVATE}" in outcome.rows[1]["error_message"]
    assert dns.questions["thrice.test", "A"] == 3
    assert site.connections == 1


def test_a_dns_answer_is_kept_for_its_time_to_live(serve, run, dns, options):
    site = serve({f"/{i}": closing for i in range(3)})

    outcome = run([f"{site.under('minute.test')}/{i}" for i in range(3)], options)

    assert outcome.reasons == [None] * 3, outcome.rows
    assert dns.questions["minute.test", "A"] == 1
    assert site.connections == 3


def test_a_reused_connection_needs_no_dns_query(serve, run, dns, options):
    site = serve({f"/{i}": good for i in range(3)})

    outcome = run([f"{site.under('kept.test')}/{i}" for i in range(3)], options)

    assert outcome.reasons == [None] * 3, outcome.rows
    assert dns.questions["kept.test", "A"] == 1
    assert site.connections == 1


def test_the_address_is_checked_again_after_robots_txt(serve, run, dns, options):
    """The name has a public address for robots.txt and a private one for the picture."""
    site = serve({"/robots.txt": lambda h: h.answer(404, b"", {"Connection": "close"})})

    outcome = run([f"{site.under('robots.test')}/a"], options | {"respect_robots_txt": True})

    assert outcome.reasons == ["address_forbidden"], outcome.rows
    assert (site.requests["/robots.txt"], site.requests["/a"]) == (1, 0)


def test_a_redirect_to_a_name_with_a_private_address(serve, run, options):
    site = serve({"/a": redirect("http://private.test/")}, name="localhost")

    outcome = run([f"{site.base}/a"], options)

    assert outcome.reasons == ["address_forbidden"]
    assert PRIVATE in outcome.rows[0]["error_message"]


@pytest.mark.parametrize("name", LOOKUPS)
def test_each_kind_of_dns_answer_gets_its_reason(name, serve, run, options):
    _, reason, detail = LOOKUPS[name]
    site, other = serve({"/a": good}), serve({"/b": good}, name="localhost")

    limits = {"connect_timeout": 0.5 if name in IN_VAIN else 3.0}
    outcome = run([f"{site.under(f'{name}.test')}/a", f"{other.base}/b"], options | limits)

    assert outcome.reasons == [reason, None], outcome.rows
    if reason:
        assert f"{name}.test" in outcome.rows[0]["error_message"]
        assert detail in outcome.rows[0]["error_message"]
    assert site.requests["/a"] == (0 if reason else 1)
    if name in IN_VAIN:
        assert outcome.seconds < 4.5


def test_a_missing_name_is_queried_once(run, dns, options):
    outcome = run([f"http://gone.test/{i}.jpg" for i in range(5)], options)

    assert outcome.reasons == ["dns_failure"] * 5
    assert dns.questions["gone.test", "A"] == 1
