"""Redirects: every target is checked like a URL of the list."""

import pytest
from hazard import Hazard, assert_as_expected, by_options, good
from wire_pages import chain, picture, redirect, status

CHAIN = {f"/chain/{n}": chain for n in range(9)}

HAZARDS: dict[str, Hazard] = {
    "301": Hazard(redirect("/good", 301), None),
    "303": Hazard(redirect("/good", 303), None),
    "307": Hazard(redirect("/good", 307), None),
    "308": Hazard(redirect("/good", 308), None),
    "relative": Hazard(redirect("good"), None),
    "with-fragment": Hazard(redirect("/good#there"), None),
    "three-steps": Hazard(redirect("/chain/1"), None, pages=CHAIN),
    "five-steps": Hazard(redirect("/chain/3"), None, pages=CHAIN),
    "six-steps": Hazard(redirect("/chain/4"), "redirect_limit", "more than 5", pages=CHAIN),
    "none-allowed": Hazard(redirect("/good"), "redirect_limit", options={"max_redirects": 0}),
    "loop": Hazard(redirect("/hazard"), "redirect_limit", "loop"),
    "loop-of-two": Hazard(
        redirect("/back"), "redirect_limit", "loop", pages={"/back": redirect("/hazard")}
    ),
    "loop-with-a-fragment": Hazard(redirect("/hazard#1"), "redirect_limit", "loop"),
    "loop-that-grows": Hazard(
        lambda h: redirect(f"{h.path}?x")(h), "redirect_limit", "more than 5", requests=6
    ),
    "loop-not-tried-again": Hazard(
        redirect("/hazard"), "redirect_limit", "loop", options={"retries": 3}
    ),
    "nowhere": Hazard(status(302), "http_client_error", "without Location"),
    "300-without-choice": Hazard(status(300), "http_client_error", "300"),
    "to-a-missing-page": Hazard(redirect("/gone"), "http_not_found"),
    "to-loopback": Hazard(redirect("http://127.0.0.2:1/"), "address_forbidden", "127.0.0.2"),
    "to-a-private-address": Hazard(redirect("http://10.0.0.1/"), "address_forbidden", "10.0.0.1"),
    "to-cloud-metadata": Hazard(
        redirect("http://169.254.169.254/latest/meta-data/"), "address_forbidden", "169.254"
    ),
    "to-this-host-by-no-address": Hazard(redirect("http://0.0.0.0:1/"), "address_forbidden"),
    "to-a-hex-address": Hazard(redirect("http://0xa000001/"), "address_forbidden", "10.0.0.1"),
    "to-ipv6": Hazard(redirect("http://[::1]:1/"), "address_forbidden", "::1"),
    "to-mapped-ipv6": Hazard(redirect("http://[::ffff:10.0.0.1]/"), "address_forbidden"),
    "without-scheme": Hazard(redirect("//10.0.0.1/"), "address_forbidden", "10.0.0.1"),
    "behind-a-user": Hazard(redirect("http://127.0.0.1@10.0.0.1/"), "address_forbidden"),
    "before-a-fragment": Hazard(redirect("http://10.0.0.1#@127.0.0.1/"), "address_forbidden"),
    "to-file": Hazard(redirect("file:///etc/passwd"), "scheme_forbidden", "redirect to"),
    "to-ftp": Hazard(redirect("ftp://127.0.0.1/a.jpg"), "scheme_forbidden", "ftp"),
    "to-gopher": Hazard(redirect("gopher://127.0.0.1:25/_HELO"), "scheme_forbidden", "gopher"),
    "to-data": Hazard(redirect("data:image/png;base64,iVBORw0KGgo="), "scheme_forbidden", "data"),
    "to-broken-ipv6": Hazard(redirect("http://[::1/"), "url_invalid", "redirect to"),
    "to-no-host": Hazard(redirect("https:///a.jpg"), "url_invalid", "redirect to"),
    "to-9000-characters": Hazard(redirect("/" + "a" * 9000), "url_invalid", "redirect to"),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(HAZARDS))
def test_each_redirect_gets_its_reason_in_time(name, serve, run):
    assert_as_expected(HAZARDS[name], serve, run)


def test_a_redirect_to_another_site_is_followed_with_the_host_header_of_that_site(serve, run):
    other = serve({"/there.jpg": good})
    site = serve({"/here.jpg": redirect(f"{other.base}/there.jpg")})

    outcome = run([f"{site.base}/here.jpg"], {})

    assert outcome.reasons == [None]
    assert (site.requests["/here.jpg"], other.requests["/there.jpg"]) == (1, 1)
    assert other.headers["Host"] == other.base.removeprefix("http://")


def test_line_ends_in_a_redirect_do_not_inject_headers(serve, run):
    site = serve({"/a": redirect("/good%0d%0aX-Own: 1"), "/good%0D%0AX-Own:%201": good})

    outcome = run([f"{site.base}/a"], {})

    assert outcome.reasons == [None], outcome.rows
    assert "X-Own" not in site.headers


def test_a_message_that_quotes_a_server_is_one_short_printable_line(serve, run):
    site = serve({"/a": redirect("x:\x1b[2J\u0085" + "é" * 900), "/b": picture()})

    outcome = run([f"{site.base}/a", f"{site.base}/b"], {})

    # Every test checks this for all messages; this is a message that would break it.
    assert outcome.reasons == ["scheme_forbidden", None]
