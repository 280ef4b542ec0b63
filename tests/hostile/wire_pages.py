"""Pages for the test site that violate HTTP or TCP conventions."""

import socket
import struct

from loopback_site import Handler, Page
from plain_scenes import GOOD

OK = b"HTTP/1.1 200 OK\r\n"


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def status(code: int, **headers: str) -> Page:
    """A status and a short page; `X_Y="z"` is the header `X-Y: z`."""
    return lambda h: h.answer(code, b"<html>no</html>", _named(headers))


def picture(body: bytes = GOOD, **headers: str) -> Page:
    return lambda h: h.answer(200, body, {"Content-Type": "image/jpeg"} | _named(headers))


def raw(data: bytes) -> Page:
    """These bytes in place of a response, then the end of the connection."""
    return lambda h: h.raw(data)


def after_refusals(code: int, refusals: int, **headers: str) -> Page:
    """The same error response so many times, then a picture."""

    def page(h: Handler) -> None:
        if h.server.requests[h.path] <= refusals:
            h.answer(code, b"later", _named(headers))
        else:
            h.answer(200, GOOD)

    return page


def drip(data: bytes, pause: float) -> Page:
    return lambda h: h.drip(data, pause)


def drip_body(data: bytes, pause: float, **headers: str) -> Page:
    """Headers at once, then the body byte by byte."""

    def page(h: Handler) -> None:
        h.send_response(200)
        for name, value in _named(headers).items():
            h.send_header(name, value)
        h.end_headers()
        h.drip(data, pause)

    return page


def flood(start: bytes, block: bytes) -> Page:
    """The start, then the same block without end."""

    def page(h: Handler) -> None:
        h.wfile.write(start)
        h.flood(block)

    return page


def stalled(h: Handler) -> None:
    h.close_connection = True
    h.server.closing.wait(20)


def half_then_stalled(h: Handler) -> None:
    h.wfile.write(OK + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD[:500])
    stalled(h)


def chunked(h: Handler) -> None:
    half = len(GOOD) // 2
    body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (GOOD[:half], GOOD[half:], b""))
    h.wfile.write(OK + b"Transfer-Encoding: chunked\r\n\r\n" + body)


def hang_up(h: Handler) -> None:
    h.close_connection = True


def reset(data: bytes) -> Page:
    """These bytes, then a reset in place of a normal end of the connection."""

    def page(h: Handler) -> None:
        h.close_connection = True
        h.wfile.write(data)
        h.server.closing.wait(0.1)  # a reset discards bytes that the client has not read yet
        h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        h.connection.close()

    return page


def redirect(location: str, code: int = 302) -> Page:
    return lambda h: h.answer(code, b"moved", {"Location": location})


def chain(h: Handler) -> None:
    """`/chain/3` redirects to `/chain/2` and so on, to the good picture."""
    left = int(h.path.rsplit("/", 1)[-1])
    redirect(f"/chain/{left - 1}" if left else "/good")(h)
