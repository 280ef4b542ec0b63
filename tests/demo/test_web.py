import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.demo.web import Route, serve, write_site
from pipeline.words.errors import InputError

BODY = bytes(range(256)) * 8


@pytest.fixture
def site(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a b.jpg").write_bytes(BODY)
    (tmp_path / "www" / "a.webp").write_bytes(BODY)
    (tmp_path / "secret.txt").write_text("no")
    write_site(
        tmp_path,
        {
            "/gone": Route(410),
            "/view?id=1": Route(file="a.webp", headers={"X-Robots-Tag": "noai"}),
            "/moved": Route(302, headers={"Location": "/a.webp"}),
            "/busy": Route(503, file="a.webp", headers={"Retry-After": "0"}, fails=2),
            "/late": Route(file="a.webp", delay=0.4),
            "/never": Route(file="a.webp", delay=60),
            "/drip": Route(file="a.webp", drip=1024),
            "/cut": Route(file="a.webp", cut=0.5),
        },
    )
    with serve(tmp_path) as base_url:
        parts = urlsplit(base_url)
        assert parts.hostname == "127.0.0.1"
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=5)
        yield connection
        connection.close()


def get(
    connection: http.client.HTTPConnection, path: str, method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/a.webp", 200), ("/a%20b.jpg", 200), ("/gone", 410), ("/nothing.jpg", 404),
     ("/view?id=1", 200), ("/../secret.txt", 404), ("/%2e%2e/secret.txt", 404), ("/", 404)],
)  # fmt: skip
def test_paths_answer_with_their_status(
    site: http.client.HTTPConnection, path: str, status: int
) -> None:
    answer = get(site, path)
    assert answer[0] == status
    assert (answer[2] == BODY) == (status == 200)


def test_the_content_type_depends_on_the_file_and_headers_on_the_route(
    site: http.client.HTTPConnection,
) -> None:
    _, headers, _ = get(site, "/view?id=1")
    assert headers["Content-Type"] == "image/webp"
    assert headers["X-Robots-Tag"] == "noai"
    assert get(site, "/a%20b.jpg")[1]["Content-Type"] == "image/jpeg"


def test_a_head_request_gets_the_length_but_no_body(site: http.client.HTTPConnection) -> None:
    status, headers, body = get(site, "/a.webp", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(BODY)), b"")


def test_redirect_names_its_target(site: http.client.HTTPConnection) -> None:
    status, headers, _ = get(site, "/moved")
    assert (status, headers["Location"]) == (302, "/a.webp")


def test_a_busy_page_is_served_after_its_failures(site: http.client.HTTPConnection) -> None:
    assert [get(site, "/busy")[0] for _ in range(3)] == [503, 503, 200]


def test_one_connection_serves_many_requests(site: http.client.HTTPConnection) -> None:
    get(site, "/a.webp")
    socket = site.sock
    get(site, "/gone")
    assert site.sock is socket is not None


def test_a_late_page_is_delayed(site: http.client.HTTPConnection) -> None:
    start = time.monotonic()
    assert get(site, "/late")[2] == BODY
    assert 0.4 <= time.monotonic() - start < 2


def test_a_dripping_body_is_sent_at_the_given_rate(site: http.client.HTTPConnection) -> None:
    start = time.monotonic()
    assert get(site, "/drip")[2] == BODY
    assert 0.9 <= time.monotonic() - start < 3


def test_a_cut_body_ends_before_its_content_length(site: http.client.HTTPConnection) -> None:
    with pytest.raises(http.client.IncompleteRead) as broken:
        get(site, "/cut")
    assert len(broken.value.partial) == len(BODY) // 2


def test_stopping_does_not_wait_for_responses_in_progress(tmp_path: Path) -> None:
    write_site(tmp_path, {"/never": Route(delay=60)})
    threads = set(threading.enumerate())
    start = time.monotonic()
    with serve(tmp_path) as base_url:
        stuck = http.client.HTTPConnection("127.0.0.1", urlsplit(base_url).port, timeout=5)
        stuck.request("GET", "/never")
        time.sleep(0.2)
    assert time.monotonic() - start < 2
    with pytest.raises((http.client.HTTPException, OSError)):
        stuck.getresponse()
    stuck.close()
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(threading.enumerate()) - threads == set()


def test_port_is_remembered_and_routes_may_come_later(tmp_path: Path) -> None:
    with serve(tmp_path) as first:
        port = urlsplit(first).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert get(connection, "/x")[0] == 404
        write_site(tmp_path, {"/x": Route(451)})
        assert get(connection, "/x")[0] == 451
        connection.close()
    with serve(tmp_path) as second:
        assert second == first


def test_a_port_in_use_is_replaced_if_remembered_and_an_error_if_given(tmp_path: Path) -> None:
    with serve(tmp_path / "one") as first:
        port = urlsplit(first).port
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "port").write_text(str(port))
        with serve(tmp_path / "two") as second:
            assert second != first
        with (
            pytest.raises(InputError, match=f"port {port} of 127.0.0.1 cannot be had"),
            serve(tmp_path / "two", port),
        ):
            pass


def test_unreadable_port_file_means_any_port(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("none\n")
    with serve(tmp_path) as base_url:
        assert (tmp_path / "port").read_text().strip() in base_url
