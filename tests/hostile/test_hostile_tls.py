"""Invalid certificates are refused, and broken responses over TLS get their reason."""

import shutil
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from certificates import Authority
from hazard import good
from loopback_site import Site
from plain_scenes import GOOD
from shard_run import IMPATIENT
from wire_pages import OK, drip_body, flood, redirect

if shutil.which("openssl") is None:
    pytest.skip("no openssl program to make certificates with", allow_module_level=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def contexts(authority) -> dict[str, ssl.SSLContext]:
    old = authority.signs("localhost")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # a deprecated protocol version is what is tested
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    return {
        "known": authority.signs("localhost"),
        "of another name": authority.signs("elsewhere.test"),
        "self-signed": authority.self_signed("localhost"),
        "of old TLS": old,
    }


@pytest.fixture
def trusting(authority, monkeypatch) -> dict[str, Any]:
    """Options of a job that trusts the authority; a new session, as authorities are read once."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    return {"user_agent_contact": "https://trusting.test"}


def test_a_certificate_of_a_known_authority_is_good(serve, run, contexts, trusting):
    site = serve({"/a": good}, tls=contexts["known"], name="localhost")

    outcome = run([f"{site.base}/a"], trusting)

    assert outcome.reasons == [None], outcome.rows
    assert site.connections == 1  # robots.txt and the picture


@pytest.mark.parametrize("which", ["of another name", "self-signed", "of old TLS"])
def test_an_invalid_certificate_is_refused(which, serve, run, contexts, trusting):
    site = serve({"/a": good}, tls=contexts[which], name="localhost")
    neighbour = serve({"/b": good})

    outcome = run([f"{site.base}/a", f"{neighbour.base}/b"], trusting | {"retries": 2})

    assert outcome.reasons == ["tls_error", None], outcome.rows
    assert not site.requests
    assert outcome.seconds < 4


def test_a_redirect_to_a_self_signed_site_is_refused(serve, run, contexts, trusting):
    site = serve({"/a": good}, tls=contexts["self-signed"], name="localhost")
    first = serve({"/a": redirect(f"{site.base}/a")})

    outcome = run([f"{first.base}/a"], trusting)

    assert outcome.reasons == ["tls_error"]
    assert not site.requests


def test_hazards_under_tls_get_the_same_reasons(serve, run, contexts, trusting):
    pages = {
        "/slow": drip_body(GOOD, 0.1),
        "/endless": flood(OK + b"\r\n", bytes(65536)),
        "/missing": lambda h: h.answer(404),
        "/good": good,
    }
    site = serve(pages, tls=contexts["known"], name="localhost")

    outcome = run([f"{site.base}{path}" for path in pages], trusting | {"deadline": 1.0})

    assert outcome.reasons == ["timeout", "too_large", "http_not_found", None], outcome.rows
    assert "in total" in outcome.rows[0]["error_message"]
    assert outcome.seconds < 4


def test_plain_http_on_an_https_url_is_a_tls_error(serve, run):
    site = serve({"/a": good})

    outcome = run([f"https://localhost:{site.port}/a"], {"retries": 2})

    assert outcome.reasons == ["tls_error"], outcome.rows


@pytest.fixture
def listener() -> Iterator[Callable[[bytes], int]]:
    """Listen, send some bytes to each client and nothing more; the port."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def start(words: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with server, server.accept()[0] as connection:
                connection.sendall(words)
                ended.wait(20)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return server.getsockname()[1]

    yield start
    ended.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(b"", "timeout", id="silence"),
        pytest.param(b"\x16\x03\x03\x40\x00", "timeout", id="half a record"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "tls_error", id="no TLS"),
    ],
)
def test_an_endless_handshake_ends_at_the_deadline(
    words: bytes, reason: str, listener: Any, run: Any
):
    options = IMPATIENT | {"respect_robots_txt": False}

    outcome = run([f"https://localhost:{listener(words)}/a"], options)

    assert outcome.reasons == [reason], outcome.rows
    assert outcome.seconds < 4


def test_certificates_are_checked_before_a_request_is_sent(serve, run, contexts, trusting):
    """Not even robots.txt is requested from a site with an invalid certificate."""
    site: Site = serve({"/a": good}, tls=contexts["of another name"], name="localhost")

    outcome = run([f"{site.base}/a", f"{site.base}/b"], trusting)

    assert outcome.reasons == ["tls_error"] * 2
    assert site.headers == {}
