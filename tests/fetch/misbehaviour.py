"""Pages that misbehave, for the loopback server."""

from collections.abc import Callable

from loopback import Handler
from plain_pictures import jpeg

GOOD = jpeg()
Page = Callable[[Handler], None]


def status(code: int, **headers: str) -> Page:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda h: h.answer(code, b"<html>no</html>", named)


def picture(body: bytes = GOOD, **headers: str) -> Page:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda h: h.answer(200, body, {"Content-Type": "image/jpeg"} | named)


def after_refusals(code: int, refusals: int, **headers: str) -> Page:
    """The same refusal so many times, then a picture."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def page(h: Handler) -> None:
        if h.server.requests[h.path] <= refusals:
            h.answer(code, b"later", named)
        else:
            h.answer(200, GOOD)

    return page


def stalled(h: Handler) -> None:
    h.close_connection = True
    h.server.closing.wait(20)


def slow_headers(h: Handler) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 200, 0.2)


def slow_body(h: Handler) -> None:
    h.send_response(200)
    h.send_header("Content-Length", str(len(GOOD)))
    h.end_headers()
    h.drip(GOOD, 0.2)


def slow_chunk_extension(h: Handler) -> None:
    h.send_response(200)
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    h.drip(b"5;" + b"x" * 200, 0.2)


def endless(h: Handler) -> None:
    h.close_connection = True
    h.send_response(200)
    h.end_headers()
    while not h.server.closing.is_set():
        h.wfile.write(bytes(65536))


def chunked(h: Handler) -> None:
    h.send_response(200)
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    half = len(GOOD) // 2
    for part in (GOOD[:half], GOOD[half:], b""):
        h.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")


def cut_chunk(h: Handler) -> None:
    h.close_connection = True
    h.send_response(200)
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    h.wfile.write(b"ffff\r\n" + GOOD[:500])


def short_body(h: Handler) -> None:
    h.close_connection = True
    h.answer(200, GOOD[:600], {"Content-Length": str(len(GOOD))})


def hang_up(h: Handler) -> None:
    h.close_connection = True


def no_http(h: Handler) -> None:
    h.close_connection = True
    h.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def chain(h: Handler) -> None:
    left = int(h.path.rsplit("/", 1)[-1])
    target = f"/chain/{left - 1}" if left else "/good"
    h.answer(302, b"moved", {"Location": target})
