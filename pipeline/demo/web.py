"""A web server on loopback whose pages misbehave as `site.json` says."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.words.errors import InputError

_HOST = "127.0.0.1"
_TYPES = mimetypes.MimeTypes()
_TYPES.add_type("image/webp", ".webp")  # not in every supported Python's table


@dataclass(frozen=True)
class Route:
    """The response of one path (query string included). A path without a route is a plain file.

    `delay` is in seconds before the answer, `drip` in bytes per second of the body, `cut` the share
    of the body that is sent before the connection closes, `fails` how many first requests get
    `status`; later ones get the file.
    """

    status: int = 200
    file: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: int | None = None
    cut: float | None = None
    fails: int | None = None


def write_site(folder: Path, routes: Mapping[str, Route]) -> None:
    """Write `folder/site.json`; a running server uses it from its next response on."""
    plain = Route()
    lines = {
        path: {k: v for k, v in asdict(route).items() if v != getattr(plain, k)}
        for path, route in sorted(routes.items())
    }
    scratch = folder / "site.json.tmp"
    scratch.write_text(json.dumps(lines, indent=1))
    scratch.replace(folder / "site.json")


class _Site:
    """The files and routes of a folder, and how often each path was asked for."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "site.json"
        self.root = (folder / "www").resolve()
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._routes: dict[str, Route] = {}
        self._stamp: tuple[int, int] | None = None

    def route(self, path: str) -> tuple[Route, int]:
        """The path's route, and how often it was asked for before."""
        with self.lock:
            self._reload()
            before = self.asked[path]
            self.asked[path] += 1
            return self._routes.get(path, Route()), before

    def _reload(self) -> None:
        try:
            stat = self.file.stat()
        except FileNotFoundError:
            return
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            values = json.loads(self.file.read_text())
            self._routes = {path: Route(**route) for path, route in values.items()}
            self._stamp = stamp

    def locate(self, name: str) -> Path | None:
        """The file below the root, symbolic links followed; None if there is none in it."""
        path = (self.root / name.lstrip("/")).resolve()
        return path if path.is_relative_to(self.root) and path.is_file() else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, site: _Site) -> None:
        self.site = site
        self.connections: set[socket.socket] = set()
        super().__init__((_HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are expected to close connections, so only other errors are printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        with self.site.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.site.lock:
            self.server.connections.add(self.connection)

    def finish(self) -> None:
        with self.server.site.lock:
            self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged: thousands of lines would hide the job's own."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        site = self.server.site
        route, before = site.route(self.path)
        if route.delay and site.stopping.wait(route.delay):
            self.close_connection = True
            return
        status = (
            HTTPStatus.OK if route.fails is not None and before >= route.fails else route.status
        )
        file = site.locate(route.file or unquote(self.path.partition("?")[0]))
        if status == HTTPStatus.OK and file is None:
            status = HTTPStatus.NOT_FOUND
        if status == HTTPStatus.OK and file is not None:
            kind = _TYPES.guess_type(file.name)[0] or "application/octet-stream"
            data = file.read_bytes()
        else:
            kind, data = "text/plain", f"{int(status)}\n".encode()
        self.send_response(int(status))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in route.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self._send(data, route)

    def _send(self, data: bytes, route: Route) -> None:
        if route.cut is not None:
            data, self.close_connection = data[: int(len(data) * route.cut)], True
        if route.drip is None:
            self.wfile.write(data)
            return
        for start in range(0, len(data), route.drip):
            if start and self.server.site.stopping.wait(1.0):
                self.close_connection = True
                return
            self.wfile.write(data[start : start + route.drip])
            self.wfile.flush()


@contextlib.contextmanager
def serve(folder: Path, port: int | None = None) -> Iterator[str]:
    """Serve `folder/www` on 127.0.0.1 as `folder/site.json` says; yields `http://127.0.0.1:PORT`.

    Both may be filled while it runs. Without `port`, the one in `folder/port` is used again if it
    is free, else any free one; the port is written there, so that a second run sees the same URLs.
    InputError if a given `port` is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    site = _Site(folder)
    server = _bind(site, port, folder / "port")
    (folder / "port").write_text(f"{server.server_port}\n")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}"
    finally:
        site.stopping.set()
        server.shutdown()
        thread.join()
        server.close_connections()
        server.server_close()


def _bind(site: _Site, port: int | None, remembered: Path) -> _Server:
    if port is not None:
        try:
            return _Server(port, site)
        except OSError as error:
            raise InputError(
                f"port {port} of {_HOST} cannot be had ({error.strerror}); give another or none"
            ) from error
    with contextlib.suppress(OSError, ValueError, OverflowError):
        return _Server(int(remembered.read_text()), site)
    return _Server(0, site)
