"""Several fetching workers share the limits of a host through the scheduler's limiter."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from lab import Lab

from pipeline.engine.runner import Result

PER_HOST = 3


class _Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, picture: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.picture = picture
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.starts: list[float] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Site

    def do_GET(self) -> None:
        site = self.server
        with site.lock:
            site.now += 1
            site.starts.append(time.monotonic())
            site.most = max(site.most, site.now)
        time.sleep(0.05)
        with site.lock:
            site.now -= 1
        found = self.path != "/robots.txt"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(site.picture) if found else 0))
        self.end_headers()
        self.wfile.write(site.picture if found else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not logged."""


@pytest.fixture
def busy(site: Any) -> Iterator[_Site]:
    server = _Site((site.folder / "www" / "0.jpg").read_bytes())
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def two_workers() -> Iterator[str]:
    """A scheduler with two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_two_workers_together_keep_a_hosts_limits(
    site: Any, busy: _Site, two_workers: str, tmp_path: Any, counts: Callable[[Result], Any]
) -> None:
    result = _fetch(
        Lab(site, tmp_path, {"scheduler": two_workers}), busy, per_host=PER_HOST, per_host_rate=None
    )

    assert counts(result)["kept"] == 40
    assert busy.most == PER_HOST
    assert len(busy.starts) == 40 + 4  # each worker asked for robots.txt and tdmrep.json


def test_two_workers_together_keep_a_hosts_request_rate(
    site: Any, busy: _Site, two_workers: str, tmp_path: Any
) -> None:
    _fetch(Lab(site, tmp_path, {"scheduler": two_workers}), busy, per_host_rate=30)

    assert max(busy.starts) - min(busy.starts) >= 41 / 30 * 0.95
    pauses = [b - a for a, b in zip(sorted(busy.starts)[:-1], sorted(busy.starts)[1:], strict=True)]
    assert sum(pause < 0.5 / 30 for pause in pauses) < len(pauses) / 4  # no bursts


def _fetch(lab: Lab, busy: _Site, **download: Any) -> Result:
    """40 pictures of one host in four shards, fetched by two workers at once."""
    base = f"http://127.0.0.1:{busy.server_address[1]}"
    rows = [{"url": f"{base}/{i}.jpg", "caption": f"a cat {i}"} for i in range(40)]
    result = lab.run(lab.job(rows, download=download, rules=[]))
    fetched = [line for line in lab.log(result) if line["stages"] == ["download"]]
    assert any(
        a["start"] < b["end"] and b["start"] < a["end"]
        for i, a in enumerate(fetched)
        for b in fetched[i + 1 :]
    )
    return result
