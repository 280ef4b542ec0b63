"""Sockets that keep a picture's total deadline, however slowly the other side sends.

A plain socket timeout starts anew with every byte, so a server that sends one byte a second holds
a thread for as long as it likes, in the headers as well as in the body. Here every single receive
may wait only for what is left of the deadline. A fetch stays on one thread from its first
connection to its last byte; its clock is that thread's.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

from urllib3.util.ssl_ import create_urllib3_context

from pipeline.fetch.failure import FetchError


class Clock(threading.local):
    """This thread's current fetch: when it must end and how long one wait may be."""

    end = float("inf")
    total = float("inf")
    idle = float("inf")

    def start(self, total: float, idle: float) -> None:
        self.total, self.idle, self.end = total, idle, time.monotonic() + total

    def left(self) -> float:
        """Seconds left, more than 0. FetchError (timeout) when the deadline has passed."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise FetchError("timeout", f"not finished after {self.total:g} s in total")
        return left

    def step(self) -> float:
        """Seconds that the next wait for the network may take."""
        return min(self.left(), self.idle)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Time in the block (waiting for our own limits) is not the server's fault."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.end += time.monotonic() - before


clock = Clock()


class DeadlineSocket(socket.socket):
    """A socket whose every receive is bounded by this thread's clock."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(clock.step())
        return super().recv_into(*args, **kwargs)


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same for TLS; the handshake is bounded as a whole by the timeout that stands then."""

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self.settimeout(clock.step())
        return super().read(*args, **kwargs)


def connect(addresses: list[str], port: int) -> DeadlineSocket:
    """Connect to the first of the addresses that answers; OSError of the last if none does."""
    failure: OSError | None = None
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = DeadlineSocket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(clock.step())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, port))
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except FetchError:
            sock.close()
            raise
    raise failure or OSError("no address")


def tls_context() -> ssl.SSLContext:
    """Certificates verified against the system's authorities (or `SSL_CERT_FILE`), TLS 1.2 up."""
    context = create_urllib3_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.load_default_certs()
    context.sslsocket_class = DeadlineTLSSocket
    return context
