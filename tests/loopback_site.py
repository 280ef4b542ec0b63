"""A threaded web server on loopback, plain or TLS, whose paths misbehave; it counts what it serves.

Every path is a page: a function that answers through the handler, well or badly. `/robots.txt` is
a path like any other; unless a test gives one there is none (404).
"""

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5.0  # of an idle kept connection
    server: "Site"

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        with self.server.lock:
            self.server.requests[path] += 1
            self.server.order.append((time.monotonic(), path))
            self.server.headers = dict(self.headers.items())
        page = self.server.pages.get(path)
        if page is None:
            self.answer(404, b"nothing here")
        else:
            page(self)

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole answer; a header's value of several lines becomes several headers."""
        headers = headers or {}
        self.send_response(status)
        for name, value in headers.items():
            for line in value.split("\n"):
                self.send_header(name, line)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def raw(self, data: bytes) -> None:
        """These bytes and nothing else, then the end of the connection."""
        self.close_connection = True
        self.wfile.write(data)

    def drip(self, data: bytes, pause: float) -> None:
        """Send byte by byte, until the client disconnects or the server stops."""
        self.close_connection = True
        for byte in data:
            if self.server.closing.wait(pause):
                return
            self.wfile.write(bytes([byte]))

    def flood(self, block: bytes) -> None:
        """Send the same block again and again, until the client disconnects or the server stops."""
        self.close_connection = True
        while not self.server.closing.is_set():
            self.wfile.write(block)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not logged."""


Page = Callable[[Handler], Any]


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        pages: Mapping[str, Page],
        *,
        tls: ssl.SSLContext | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = dict(pages)
        self.tls = tls
        self.requests: Counter[str] = Counter()
        self.order: list[tuple[float, str]] = []
        self.headers: dict[str, str] = {}
        self.connections = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.port = self.server_address[1]
        self.base = self.under(name)

    def under(self, name: str) -> str:
        """This site's root under a name."""
        return f"{'https' if self.tls else 'http'}://{name}:{self.port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        if self.tls is not None:
            # The handshake comes with the first read, on the connection's own thread.
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, peer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are expected to close connections to hostile pages, so errors are not printed."""

    def __enter__(self) -> "Site":
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        # Not `serve_forever`: that wakes again and again, and there are many sites at once.
        while not self.closing.is_set():
            self.handle_request()

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        with socket.create_connection(self.server_address[:2]):
            self._thread.join()
        self.server_close()
