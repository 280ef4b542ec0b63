"""TLS is verified against the URL's name, although the connection goes to a checked address."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback_site import Site
from plain_pictures import jpeg

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl program to make certificates with"
)


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (ca.pem) and a certificate that it signed for `localhost`."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *curve, "-days", "2", "-subj", "/CN=test authority",
        "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem",
    )  # fmt: skip
    openssl(
        "req", *curve, "-subj", "/CN=localhost",
        "-keyout", f"{folder}/site.key", "-out", f"{folder}/site.csr",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
    openssl(
        "x509", "-req", "-days", "2", "-in", f"{folder}/site.csr", "-extfile", f"{folder}/names",
        "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial",
        "-out", f"{folder}/site.pem",
    )  # fmt: skip
    return folder


@pytest.fixture
def site(authority: Path) -> Iterator[Site]:
    pages = {
        "/a.jpg": lambda h: h.answer(200, jpeg()),
        "/slow.jpg": lambda h: h.drip(b"HTTP/1.1 200 OK\r\n\r\n" + jpeg(), 0.1),
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "site.pem", authority / "site.key")
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = Site(pages, tls=context)
    server.names = names  # type: ignore[attr-defined]
    with server:
        yield server


def https(server: Site, host: str, path: str = "/a.jpg") -> str:
    return f"https://{host}:{server.server_address[1]}{path}"


def test_a_site_with_a_trusted_certificate_is_fetched(
    site, authority, fetch, config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))

    urls = [f"{https(site, 'localhost')}?{i}" for i in range(4)]
    results = fetch(urls, config(thread_count=1))

    assert [(r.reason, r.message) for r in results] == [(None, None)] * 4
    assert site.names == ["localhost"]  # one handshake for four pictures, with SNI


def test_a_certificate_for_another_name_is_refused(site, authority, fetch, config, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))

    [result] = fetch([https(site, "127.0.0.1")], config())

    assert result.reason == "tls_error"
    assert "127.0.0.1" in result.message


def test_a_certificate_of_an_unknown_authority_is_refused(site, fetch, config):
    [result] = fetch([https(site, "localhost")], config(retries=2))

    assert result.reason == "tls_error"
    assert "certificate verify failed" in result.message


def test_the_deadline_holds_under_tls_too(site, authority, fetch, config, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    started = time.monotonic()

    [result] = fetch([https(site, "localhost", "/slow.jpg")], config(deadline=0.8))

    assert result.reason == "timeout"
    assert "in total" in result.message
    assert time.monotonic() - started < 1.5


def test_a_server_without_tls_is_a_tls_error(serve, fetch, config):
    server = serve({})

    [result] = fetch([https(server, "localhost")], config())

    assert result.reason == "tls_error"


def test_a_missing_handshake_ends_at_the_timeout(fetch: Callable, config: Callable):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        [result] = fetch([f"https://localhost:{silent.getsockname()[1]}/"], config())

    assert result.reason == "timeout"
    assert time.monotonic() - started < 1.5
