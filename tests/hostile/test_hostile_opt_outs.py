"""Every form of opt-out, and some headers that only look like one."""

from collections.abc import Mapping

import pytest
from hazard import good
from loopback_site import Page
from plain_scenes import GOOD
from wire_pages import picture, raw, redirect, status

TAG, TDM = "opted_out_robots_tag", "opted_out_tdm"

# X-Robots-Tag, and the directive that decides; None: the picture may be used.
TAGS: dict[str, str | None] = {
    "noai": "noai",
    "noimageai": "noimageai",
    "noindex": "noindex",
    "noimageindex": "noimageindex",
    "none": "none",
    "noml": "noml",
    "NoAI": "noai",
    "all, NOIMAGEAI": "noimageai",
    "nofollow, noarchive, noai": "noai",
    "nofollow\nnoai": "noai",
    "googlebot: noindex\nnoml": "noml",
    "winnow: noai": "noai",
    "Winnow: nofollow, noai": "noai",
    "*: noimageindex": "noimageindex",
    "otherbot: nofollow, winnow: noai": "noai",
    "max-image-preview:large, noai": "noai",
    "max-image-preview: large, max-snippet: -1, noimageai": "noimageai",
    "winnow: max-image-preview:large, noai": "noai",
    "unavailable_after: 25 Jun 2010 15:00:00 PST, noai": "noai",
    "unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai": "noai",
    ",,noai,,": "noai",
    " noai\t": "noai",
    "noai;": "noai",
    "noindex;noai": "noindex",
    "all|noai": "noai",
    '"noai"': "noai",
    "'all', 'noimageai'": "noimageai",
    "[noai]": "noai",
    "all noai": "noai",
    "all\tnoai": "noai",
    "no-ai": "noai",
    "NO_IMAGE_AI": "noimageai",
    "no ai": "noai",
    "no index": "noindex",
    "noai.": "noai",
    "noai=1": "noai",
    "noai: true": "noai",
    "noai:": "noai",
    "X-Robots-Tag: noai": "noai",
    "user-agent: *, noai": "noai",
    "robots: noai": "noai",
    "all: noai": "noai",
    "*: max-image-preview: large, noai": "noai",
    '"winnow": noai': "noai",
    "\uff4e\uff4f\uff41\uff49": "noai",
    "all\uff0cnoai": "noai",
    "all\uff1bnoai": "noai",
    "no\u2011ai": "noai",
    "no\u200bai": "noai",
    "noai: false": None,
    "no": None,
    "no archive": None,
    "\u00e4\u00f6\u00fc": None,
    "all": None,
    "": None,
    "index, follow": None,
    "nofollow": None,
    "noarchive, nosnippet, notranslate": None,
    "max-image-preview: none": None,
    "googlebot: noai": None,
    "googlebot: noindex, noai": None,
    "noaints": None,
    "unavailable_after: 25 Jun 2010 15:00:00 PST": None,
}
# What is neither 1 nor 0 was not written to say that nothing is reserved.
RESERVATIONS = {
    "1": TDM, " 1 ": TDM, "0": None, "": None, "11": TDM, "yes": TDM, "true": TDM, '"1"': TDM,
    "1; policy=x": TDM, "1.0": TDM, "0, 1": TDM, "\t1": TDM, "reserved": TDM, "\uff11": TDM,
    '"0"': None, "0;x": None, "false": None, "00": None, "0.0": None, "no": None,
}  # fmt: skip


def _site(serve, run, pages: Mapping[str, Page], options: Mapping[str, object] = {}):
    """All pages in one shard, which must not influence each other; rows by page, and the site."""
    site = serve(pages)
    outcome = run([f"{site.base}{path}" for path in pages], options)
    return dict(zip(pages, outcome.rows, strict=True)), site


def _said(name: bytes, text: str) -> Page:
    """A picture with a header of such values, in UTF-8; of several lines, several headers."""
    said = b"".join(name + b": " + line.encode() + b"\r\n" for line in text.split("\n"))
    return raw(b"HTTP/1.1 200 OK\r\n" + said + b"\r\n" + GOOD)


@pytest.fixture(scope="module")
def tagged(serve, run):
    lines = enumerate(TAGS)
    return _site(serve, run, {f"/{i}": _said(b"X-Robots-Tag", text) for i, text in lines})


@pytest.mark.parametrize(("number", "text"), list(enumerate(TAGS)))
def test_robots_tags(number, text, tagged):
    rows, site = tagged
    row, word = rows[f"/{number}"], TAGS[text]

    assert row["fetch_reason"] == (TAG if word else None), row["error_message"]
    assert row["error_message"] == (f"X-Robots-Tag: {word}" if word else None)
    assert site.requests[f"/{number}"] == 1
    if word:
        assert row["sha256"] is None


@pytest.fixture(scope="module")
def reserved(serve, run):
    values = enumerate(RESERVATIONS)
    return _site(serve, run, {f"/{i}": _said(b"TDM-Reservation", text) for i, text in values})[0]


@pytest.mark.parametrize(("number", "text"), list(enumerate(RESERVATIONS)))
def test_reservations_of_text_and_data_mining(number, text, reserved):
    row = reserved[f"/{number}"]

    assert row["fetch_reason"] == RESERVATIONS[text], row["error_message"]


def test_an_opt_out_is_not_retried_and_its_body_not_read(serve, run):
    pages = {
        "/tag": picture(X_Robots_Tag="noai", Content_Length="900000000"),
        "/tdm": picture(TDM_Reservation="1", Content_Length="900000000"),
    }
    rows, site = _site(serve, run, pages, {"retries": 3})

    assert [row["fetch_reason"] for row in rows.values()] == [TAG, TDM]
    assert (site.requests["/tag"], site.requests["/tdm"]) == (1, 1)


def test_an_opt_out_on_a_redirect_applies_to_its_target(serve, run):
    moved = {"Location": "/good", "X_Robots_Tag": "noai"}
    pages = {
        "/tag": status(302, **moved),
        "/tdm": status(301, Location="/good", TDM_Reservation="1"),
        "/to-tag": redirect("/tagged"),
        "/tagged": picture(X_Robots_Tag="noai"),
    }
    rows, site = _site(serve, run, pages | {"/good": good})

    reasons = [row["fetch_reason"] for row in rows.values()]
    assert reasons == [TAG, TDM, TAG, TAG, None], rows
    assert site.requests["/good"] == 1


def test_opt_outs_that_the_job_does_not_respect(serve, run):
    options = {"respect_robots_tag": False, "respect_tdm_reservation": False}
    pages = {"/a": picture(X_Robots_Tag="noai"), "/b": picture(TDM_Reservation="1")}
    rows, _ = _site(serve, run, pages, options)

    assert [row["fetch_reason"] for row in rows.values()] == [None, None]


def test_an_error_status_is_the_reason_even_with_an_opt_out_header(serve, run):
    rows, _ = _site(serve, run, {"/a": status(404, X_Robots_Tag="noindex")})

    assert rows["/a"]["fetch_reason"] == "http_not_found"


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    file = tmp_path_factory.mktemp("domains") / "list.txt"
    file.write_text("# those who wrote to us\nblocked.test\n\nBücher.test  # in their own script\n")
    return {"opted_out_domains": str(file)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("blocked.test", "opted_out_domain"),
        ("BLOCKED.test", "opted_out_domain"),
        ("blocked.test.", "opted_out_domain"),
        ("img.cdn.blocked.test", "opted_out_domain"),
        ("bücher.test", "opted_out_domain"),
        ("xn--bcher-kva.test", "opted_out_domain"),
        ("unblocked.test", None),
        ("blocked.test.other.test", None),
    ],
)
def test_listed_domains_get_no_request(name, reason, serve, run, domains, loopback_dns):
    site, other = serve({"/a": good}), serve({"/b": good})
    loopback_dns.questions.clear()

    outcome = run([f"{site.under(name)}/a", f"{other.base}/b"], domains)

    assert outcome.reasons == [reason, None], outcome.rows
    if reason:
        assert site.connections == 0
        asked = {asked for asked, _ in loopback_dns.questions}
        assert not [host for host in asked if host.endswith(("blocked.test", "kva.test"))]


def test_a_redirect_to_a_domain_on_the_list(serve, run, domains):
    target = serve({"/a": good})
    site = serve({"/a": redirect(f"{target.under('www.blocked.test')}/a")})

    outcome = run([f"{site.base}/a"], domains)

    assert outcome.reasons == ["opted_out_domain"]
    assert target.connections == 0
