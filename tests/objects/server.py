"""moto's S3 server on loopback, which notes each request: `python server.py PORT LOG`.

A line of the log is a request's method and its path with the query. The name of a bucket can ask
for a fault: `refusing…` answers 501 to a conditional PUT, `ignoring…` takes it for any other, and
`losing…` does what it is asked to and then loses the first answer about each object.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
ERROR = "<Error><Code>{0}</Code><Message>{0}</Message></Error>"


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as a store does

    def log(self, *_: Any) -> None:
        """Nothing: the requests are in the log file."""


class Noting:
    def __init__(self, app: Callable[..., Iterable[bytes]], log: Path) -> None:
        self._app = app
        self._log = log.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self._lost: set[str] = set()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self._log.write(f"{method} {path}?{environ.get('QUERY_STRING', '')}\n")
        bucket, _, key = path.lstrip("/").partition("/")
        if method != "PUT" or not key:
            return self._app(environ, start)
        given = [name for name in CONDITIONS if name in environ]
        if bucket.startswith("refusing") and given:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _answer(start, "501 Not Implemented", "NotImplemented")
        if bucket.startswith("ignoring"):
            for name in given:
                del environ[name]
        if bucket.startswith("losing") and path not in self._lost:
            self._lost.add(path)
            b"".join(self._app(environ, lambda *_: None))
            return _answer(start, "500 Internal Server Error", "InternalError")
        return self._app(environ, start)


def _answer(start: Callable[..., Any], status: str, code: str) -> list[bytes]:
    body = ERROR.format(code).encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def main(port: int, log: Path) -> None:
    app = Noting(DomainDispatcherApplication(create_backend_app), log)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
