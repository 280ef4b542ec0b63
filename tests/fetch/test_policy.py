"""Which addresses, URLs and sites may not be fetched, on examples and on random input."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.fetch.opener import retry_after
from pipeline.fetch.web.addresses import AddressGuard, is_public
from pipeline.fetch.web.resolve import Resolver
from pipeline.fetch.web.robots_tag import OPT_OUT, opt_out
from pipeline.words.failure import FetchError, printable, split_message
from pipeline.words.urls import check_url, redirect_target


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254",
        "172.16.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "233.252.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
        "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1",
        "ff0e::1",
    ],
)  # fmt: skip
def test_private_and_reserved_addresses_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "2606:4700::1"],
)
def test_public_addresses_are_recognised(address):
    assert is_public(ipaddress.ip_address(address))


def test_only_permitted_addresses_of_a_host_are_returned(monkeypatch):
    answers = ["::1", "10.0.0.7", "127.0.0.1", "93.184.216.34", "fe80::1%eth0"]
    monkeypatch.setattr(Resolver, "lookup", lambda *_: tuple(answers))

    assert AddressGuard(Resolver((), 1.0), ["10.0.0.0/24"]).resolve("both.example", 80) == [
        "10.0.0.7",
        "93.184.216.34",
    ]


def test_a_host_without_permitted_address_is_named_with_what_it_resolves_to(monkeypatch):
    monkeypatch.setattr(Resolver, "lookup", lambda *_: ("192.168.0.9",))

    with pytest.raises(FetchError, match=r"^address_forbidden: rebind.example .* 192\.168\.0\.9$"):
        AddressGuard(Resolver((), 1.0)).resolve("rebind.example", 80)


def test_an_invalid_allow_list_is_a_job_error(config):
    with pytest.raises(ValidationError, match="allow_addresses"):
        config(allow_addresses=("127.0.0.1/33",))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://example.com", "http://example.com/"),
        ("  HTTP://EXAMPLE.com/a b?c=d#part \n", "http://example.com/a%20b?c=d"),
        ("http://example.com/ä.jpg", "http://example.com/%C3%A4.jpg"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("https://user:pass@example.com:8443/x", "https://example.com:8443/x"),
        ("http://example.com/a/../b", "http://example.com/b"),
    ],
)
def test_urls_are_brought_to_normal_form(text, url):
    assert check_url(text).url == url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://a.example/x"),
        ("x?y", "https://a.example/b/x?y"),
        ("//c.example/", "https://c.example/"),
        ("http://c.example:81", "http://c.example:81/"),
        ("", "https://a.example/b/p"),
    ],
)
def test_redirects_are_read_relative_to_the_page(location, url):
    assert redirect_target(check_url("https://a.example/b/p"), location).url == url


@given(st.text(max_size=60) | st.from_regex(r"\Ahttps?:.{0,40}\Z"))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_ascii_http_url_or_a_reason(text):
    try:
        url = check_url(text)
    except FetchError as error:
        reason = error.reason
    else:
        reason = None
        assert url.url.isascii()
        assert url.scheme in ("http", "https")
        assert url.host
        assert check_url(url.url) == url
    assert reason in (None, "url_invalid", "scheme_forbidden")


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["noai"], "noai"),
        (["NoAI, NoImageAI"], "noai"),
        (["noimageai"], "noimageai"),
        (["all", "none"], "none"),
        (["nofollow, noml"], "noml"),
        (["noindex"], "noindex"),
        (["nofollow noimageindex"], "noimageindex"),
        (["nofollow; noai"], "noai"),
        (["winnow: noai"], "noai"),
        (["Winnow/1.0: noindex"], "noindex"),
        (["*: noai"], "noai"),
        (["googlebot: nofollow, winnow: noai"], "noai"),
        (["max-image-preview:large, noai"], "noai"),
        (["max-image-preview: large, noimageai"], "noimageai"),
        (["winnow: max-image-preview: large, noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai"], "noai"),
        (["googlebot: noindex", "noai"], "noai"),
    ],
)
def test_sites_that_opt_out(lines, word):
    assert opt_out(lines, "winnow") == word


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["all"],
        ["index, follow"],
        ["nofollow"],
        ["noarchive, nosnippet"],
        ["max-image-preview: none"],
        ["max-snippet:0, max-image-preview:none"],
        ["googlebot: noindex, noai"],
        ["winnow: nofollow, otherbot: noai"],
        ["noainess"],
    ],
)
def test_sites_that_do_not_opt_out(lines):
    assert opt_out(lines, "winnow") is None


_HARMLESS = st.sampled_from(
    ["all", "index", "nofollow", "noarchive", "max-snippet: -1", "max-image-preview:none", ""]
)


@given(st.lists(_HARMLESS, max_size=4), st.sampled_from(sorted(OPT_OUT)), st.randoms())
@settings(max_examples=200, deadline=None)
def test_an_opt_out_is_found_at_any_position_in_the_header(harmless, word, random):
    assert opt_out([", ".join(harmless)], "winnow") is None
    items = [*harmless, random.choice([word, word.upper(), f" {word} "])]
    random.shuffle(items)
    assert opt_out([random.choice([",", ", ", ";"]).join(items)], "winnow") == word
    assert opt_out(["otherbot: " + ", ".join(items)], "winnow") is None


@given(st.lists(st.text(max_size=80), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_header_can_be_read(lines):
    assert opt_out(lines, "winnow") in {None, *OPT_OUT}


def test_retry_after_in_seconds_or_as_a_date():
    assert retry_after("120") == 120
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert retry_after("Fri, 31 Dec 2100 23:59:59 GMT") > 1e9
    assert retry_after("soon") == retry_after("") == retry_after("-5") == retry_after("²") == 0


@given(st.text(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_details_are_one_printable_line(text):
    assert printable(text).isprintable()
    assert len(printable(text)) <= 300


def test_unknown_messages_get_the_reason_download_internal():
    assert split_message("timeout: slow") == ("timeout", "slow")
    assert split_message("<urlopen error x>")[0] == "download_internal"
    assert split_message("") == ("download_internal", "no message")
