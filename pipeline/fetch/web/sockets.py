"""Sockets that keep a picture's total deadline, however slowly the server sends.

A plain socket timeout starts again with every byte, so a server that sends one byte a second could
occupy a thread without limit, in the headers as well as in the body. Here each receive waits at
most for what is left of the deadline. A fetch stays on one thread from its first connection to its
last byte, so each thread has its own clock.
"""

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from urllib3.util.ssl_ import create_urllib3_context

from pipeline.config.download import DownloadConfig
from pipeline.words.failure import FetchError


@dataclass(frozen=True)
class WaitLimits:
    """Limits of one fetch: seconds for each kind of wait, and bytes of a response's head.

    `total` is the deadline in seconds for the whole picture.
    """

    total: float
    connect: float
    first_byte: float
    idle: float
    head_bytes: int

    @classmethod
    def of(cls, config: DownloadConfig) -> "WaitLimits":
        return cls(
            config.deadline, config.connect_timeout, config.first_byte_timeout, config.timeout,
            config.max_header_bytes,
        )  # fmt: skip


class Clock(threading.local):
    """This thread's current fetch: when it must end, and what it waits for."""

    limits = WaitLimits(math.inf, math.inf, math.inf, math.inf, 1 << 20)
    end = math.inf
    waiting = "connection"
    is_fresh = True
    """Whether the current request opened a new connection instead of reusing one."""
    _head: int | None = None
    """Bytes of a response's status line and headers so far; None while none are read."""

    def start(self, limits: WaitLimits) -> None:
        self.limits, self.end = limits, time.monotonic() + limits.total
        self.connecting()

    def connecting(self) -> None:
        self.waiting, self._head = "connection", None

    def asked(self) -> None:
        """A request has been sent; the response's head is next."""
        self.waiting, self._head = "first byte", 0

    def answered(self) -> None:
        """The head has been read; the body is next."""
        self.waiting, self._head = "further byte", None

    def received(self, count: int) -> None:
        """FetchError (http_malformed) if a response's head is longer than the cap."""
        if self._head is None or not count:
            return
        self.waiting = "further byte"
        if self._head > self.limits.head_bytes:
            detail = f"headers of more than {self.limits.head_bytes} bytes"
            raise FetchError("http_malformed", detail)
        self._head += count

    def left(self) -> float:
        """Seconds left, more than 0. FetchError (timeout) when the deadline has passed."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise FetchError("timeout", f"not finished after {self.limits.total:g} s in total")
        return left

    def step(self) -> float:
        """Seconds that the next wait for the network may take."""
        return min(self.left(), self._most())

    def _most(self) -> float:
        limits = self.limits
        return {
            "connection": limits.connect,
            "first byte": limits.first_byte,
            "further byte": limits.idle,
        }[self.waiting]

    def describe_wait(self) -> str:
        """What the server did not send or do in time."""
        return f"no {self.waiting} within {self._most():g} s"

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Time in the block does not count against the deadline (waiting for our own limits)."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.end += time.monotonic() - before

    @contextlib.contextmanager
    def own_deadline(self) -> Iterator[None]:
        """The block gets a deadline of its own; this fetch's clock is stopped meanwhile."""
        end = self.end
        with self.stopped():
            self.end = time.monotonic() + self.limits.total
            try:
                yield
            finally:
                self.end = end


clock = Clock()


class DeadlineSocket(socket.socket):
    """A socket whose every receive is bounded by this thread's clock."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(clock.step())
        count = super().recv_into(*args, **kwargs)
        clock.received(count)
        return count


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same for TLS. The handshake as a whole has the timeout that the socket was given."""

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self.settimeout(clock.step())
        got = super().read(*args, **kwargs)
        clock.received(got if isinstance(got, int) else len(got))
        return got


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
