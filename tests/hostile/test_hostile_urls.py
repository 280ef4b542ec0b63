"""Invalid URLs and forbidden addresses are refused before any connection is made."""

import socket

import pytest

REFUSED: dict[str | None, str] = {
    None: "url_invalid",
    "": "url_invalid",
    " ": "url_invalid",
    "no address": "url_invalid",
    "example.com/a.jpg": "url_invalid",
    "//example.com/a.jpg": "url_invalid",
    "http:": "url_invalid",
    "http://": "url_invalid",
    "http:///a.jpg": "url_invalid",
    "http://:80/a.jpg": "url_invalid",
    "http://[::1/a.jpg": "url_invalid",
    "http://[::g]/a.jpg": "url_invalid",
    "http://exa mple/a.jpg": "url_invalid",
    "http://host:99999999/": "url_invalid",
    "http://host:-1/": "url_invalid",
    "http://host:http/": "url_invalid",
    "http://host/" + "a" * 9000: "url_invalid",
    "file:///etc/passwd": "scheme_forbidden",
    "FILE:///etc/passwd": "scheme_forbidden",
    "file://localhost/etc/passwd": "scheme_forbidden",
    "local_file:///etc/passwd": "url_invalid",
    "ftp://127.0.0.1/a.jpg": "scheme_forbidden",
    "data:image/gif;base64,R0lGODlh" + "A" * 9000: "scheme_forbidden",
    "gopher://127.0.0.1:70/_GET": "scheme_forbidden",
    "javascript:alert(1)": "scheme_forbidden",
    "dict://127.0.0.1:11211/stat": "scheme_forbidden",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info": "scheme_forbidden",
    "http://127.0.0.1:1/": "address_forbidden",
    "http://127.1:1/": "address_forbidden",
    "http://127.0.0.1.:1/": "address_forbidden",
    "http://0x7f.1:1/": "address_forbidden",
    "http://0x7f000001:1/": "address_forbidden",
    "http://2130706433:1/": "address_forbidden",
    "http://017700000001:1/": "address_forbidden",
    "http://0177.0.0.1:1/": "address_forbidden",
    "http://127。0。0。1:1/": "url_invalid",
    "http://①②⑦.⓪.⓪.①:1/": "url_invalid",
    "http://%31%32%37.0.0.1:1/": "address_forbidden",
    "http://localhost:1/": "address_forbidden",
    "http://LOCALHOST.:1/": "address_forbidden",
    "http://[::1]:1/": "address_forbidden",
    "http://[::]:1/": "address_forbidden",
    "http://[::ffff:127.0.0.1]:1/": "address_forbidden",
    "http://[::ffff:7f00:1]:1/": "address_forbidden",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]:1/": "address_forbidden",
    "http://[64:ff9b::7f00:1]:1/": "address_forbidden",
    "http://[2002:7f00:1::]:1/": "address_forbidden",
    "http://[fe80::1]:1/": "address_forbidden",
    "http://[fd00::1]:1/": "address_forbidden",
    "http://10.0.0.1:1/": "address_forbidden",
    "http://100.64.0.1:1/": "address_forbidden",
    "http://192.168.0.1:1/": "address_forbidden",
    "http://169.254.169.254/latest/meta-data/": "address_forbidden",
    "http://0.0.0.0:1/": "address_forbidden",
    "http://0:1/": "address_forbidden",
    "http://255.255.255.255:1/": "address_forbidden",
    "http://224.0.0.1:1/": "address_forbidden",
    "https://user:secret@127.0.0.1:1/": "address_forbidden",
    "http://8.8.8.8@127.0.0.1:1/": "address_forbidden",
    "http://127.0.0.1:1\\@8.8.8.8/": "address_forbidden",
}


@pytest.fixture(scope="module")
def refused(run):
    """All of them in one shard: they are refused quickly and independently."""
    outcome = run(list(REFUSED), {"allow_addresses": (), "respect_robots_txt": False})
    return dict(zip(REFUSED, outcome.rows, strict=True)), outcome


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: ascii(url)[:40])
def test_urls_to_forbidden_places_are_refused(url, refused):
    row = refused[0][url]

    assert row["fetch_reason"] == REFUSED[url], row["error_message"]
    assert "secret" not in row["error_message"]
    assert row["sha256"] is None


def test_urls_are_refused_quickly(refused):
    assert refused[1].seconds < 3
    assert refused[1].pictures == {}


def test_a_closed_port_is_a_failed_connection_and_not_tried_again(run):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    outcome = run([f"http://127.0.0.1:{port}/"], {"retries": 2, "respect_robots_txt": False})

    assert outcome.reasons == ["connection_failed"], outcome.rows
    assert outcome.seconds < 1.4
