"""How connections are used and shared, and what the installed opener allows."""

import threading
import time
import urllib.request
from typing import Any

import pytest
from loopback_site import Handler, Site
from plain_pictures import jpeg

from pipeline.fetch import opener
from pipeline.fetch.downloader import fetch_urls, interleaved
from pipeline.fetch.writer import Spool
from pipeline.words.failure import FetchError

GOOD = jpeg()


def good(h: Handler) -> None:
    h.answer(200, GOOD)


def test_connections_are_kept_alive(serve, fetch, config):
    pages = {f"/{i}.jpg": good for i in range(30)}
    pages |= {f"/{i}.gone": lambda h: h.answer(404, b"x" * 3000) for i in range(30)}
    server = serve(pages)
    urls = [f"{server.base}{path}" for path in pages]

    results = fetch(urls, config(thread_count=4))

    assert [r.reason for r in results] == [None] * 30 + ["http_not_found"] * 30
    assert server.requests.pop("/robots.txt") == 1
    assert sum(server.requests.values()) == 60
    assert server.connections <= 4


def test_a_connection_with_unread_bytes_is_not_reused(serve, fetch, config):
    lies = {f"/{i}.lie": lambda h: h.answer(200, GOOD, {"Content-Length": "600"}) for i in range(4)}
    server = serve(lies | {f"/{i}.jpg": good for i in range(4)})
    urls = [f"{server.base}/{i}.{kind}" for i in range(4) for kind in ("lie", "jpg")]

    results = fetch(urls, config(thread_count=1))

    assert [r.reason for r in results] == ["decode_error", None] * 4


def test_a_request_is_repeated_if_the_server_closed_a_kept_connection(serve, fetch, config):
    def closes(h: Handler) -> None:
        h.close_connection = True  # without announcing it
        good(h)

    server = serve({f"/{i}.jpg": closes for i in range(40)})
    urls = [f"{server.base}/{i}.jpg" for i in range(40)]

    results = fetch(urls, config(thread_count=4, retries=0))

    assert [(r.reason, r.message) for r in results] == [(None, None)] * 40
    assert max(server.requests[f"/{i}.jpg"] for i in range(40)) == 1


@pytest.mark.slow
def test_no_more_connections_to_a_host_than_agreed(serve, fetch, config):
    lock, now, most = threading.Lock(), [0], [0]

    def busy(h: Handler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        h.answer(200, GOOD)

    server = serve({f"/{i}": busy for i in range(40)})
    urls = [f"{server.base}/{i}" for i in range(40)]

    # 40 × 50 ms over two connections outlast the deadline: waiting for our own limit is no timeout.
    results = fetch(urls, config(thread_count=12, per_host=2, deadline=0.6, timeout=0.6))

    assert [(r.reason, r.message) for r in results] == [(None, None)] * 40
    assert most[0] == 2


def test_urls_are_interleaved_over_their_hosts():
    hosts = {
        f"{host}{i}": host for host, count in (("a", 4), ("b", 1), ("c", 2)) for i in range(count)
    }

    assert interleaved(hosts) == ["a0", "b0", "c0", "a1", "c1", "a2", "a3"]


@pytest.mark.slow
def test_a_slow_host_does_not_delay_the_others(serve, fetch, config):
    finished: dict[str, float] = {}

    def page(name: str, pause: float) -> Any:
        def answer(h: Handler) -> None:
            time.sleep(pause)
            good(h)
            finished[name] = time.monotonic()

        return answer

    slow = serve({f"/{i}": page("slow", 0.3) for i in range(12)})
    quick = serve({f"/{i}": page("quick", 0.0) for i in range(4)})
    urls = [f"{site.base}/{i}" for site, n in ((slow, 12), (quick, 4)) for i in range(n)]
    started = time.monotonic()

    results = fetch(urls, config(thread_count=2, per_host=1))

    assert [r.reason for r in results] == [None] * 16
    # In the list's order the fast host would come last, after 12 × 300 ms.
    assert finished["quick"] - started < 2.6 < finished["slow"] - started


def test_the_host_gets_the_user_agent_with_contact(serve, fetch, config):
    server: Site = serve({"/good.jpg": good})

    formats = ("jpeg", "avif")
    fetch(
        [f"{server.base}/good.jpg"],
        config(user_agent_contact="https://who.example", formats=formats),
    )

    agent = "Mozilla/5.0 (compatible; winnow; +https://who.example)"
    assert server.headers["User-Agent"] == agent
    assert server.headers["Host"] == server.base.removeprefix("http://")
    assert server.headers["Accept-Encoding"] == "identity"
    assert server.headers["Accept"] == "image/jpeg,image/avif,*/*;q=0.1"


def test_the_opener_allows_only_http_and_is_uninstalled_afterwards(tmp_path, config):
    secret = tmp_path / "secret"
    secret.write_text("s")
    fetcher = opener.Fetcher(config())
    with opener.installed(fetcher.fetch):
        for url in (secret.as_uri(), "ftp://127.0.0.1/", "data:,x"):
            with pytest.raises(FetchError, match="scheme_forbidden"):
                urllib.request.urlopen(url)
    fetcher.close()

    with urllib.request.urlopen(secret.as_uri()) as page:
        assert page.read() == b"s"


def test_a_second_shard_in_the_process_waits_for_the_first(serve, config, tmp_path):
    server = serve({f"/{i}": lambda h: (time.sleep(0.05), h.answer(200, GOOD)) for i in range(8)})
    found: dict[int, list[Any]] = {}

    def shard(number: int) -> None:
        # Only the first may reach loopback, so each must use its own opener.
        allow = ("127.0.0.1/32",) if number == 0 else ()
        (tmp_path / f"{number}").mkdir()
        spool = Spool(tmp_path / f"{number}")
        urls = [f"{server.base}/{i}" for i in range(8)]
        options = config(allow_addresses=allow, thread_count=2)
        found[number] = [r.reason for r in fetch_urls(urls, options, spool)]
        spool.close()

    threads = [threading.Thread(target=shard, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {0: [None] * 8, 1: ["address_forbidden"] * 8}
