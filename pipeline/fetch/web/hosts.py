"""How hosts are spared: few connections, a pace, a rest when they ask for it or keep failing.

One book holds the state of every host for all who fetch: threads of one process, or, through
what an executor installs with `share_book`, workers of a cluster.
"""

import contextlib
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pipeline.config.download import DownloadConfig
from pipeline.failure import FetchError
from pipeline.fetch.web.sockets import clock

MAX_PAUSE = 3_600.0
"""Seconds of a Retry-After that are remembered for a host's other rows."""
FAILURES = frozenset(
    {"timeout", "connection_failed", "tls_error", "dns_failure", "http_malformed",
     "http_server_error", "http_rate_limited"}
)  # fmt: skip
"""Reasons that say something about the host, and not about one of its files."""
_PAUSING = frozenset({"http_server_error", "http_rate_limited"})
_REMEMBERED = 100_000
_LONGEST_NAP = 1.0


@dataclass(frozen=True)
class Manners:
    """What the job allows itself: see the keys of `download:`."""

    per_host: int
    per_host_rate: float | None
    host_failures: int | None
    host_cooldown: float

    @classmethod
    def of(cls, config: DownloadConfig) -> "Manners":
        return cls(
            config.per_host, config.per_host_rate, config.host_failures, config.host_cooldown
        )


@dataclass
class _Host:
    connections: Counter[str] = field(default_factory=Counter)
    next_start: float = 0.0
    failures: int = 0
    """In a row, up to now."""
    recent: float = 0.0
    """Successes, each fading over `host_cooldown` seconds since `seen`."""
    seen: float = 0.0
    alone_until: float = 0.0
    paused_until: float = 0.0
    reason: str = ""
    """Of the last failure, with its detail."""
    detail: str = ""

    def is_forgettable(self, now: float) -> bool:
        busy = self.connections or self.failures
        return not busy and max(self.next_start, self.alone_until, self.paused_until) <= now


@dataclass(frozen=True)
class Leave:
    """The book's answer: come in (`wait` 0), come again after `wait` seconds, or stay away.

    To stay away has a `reason` and a `detail`, for `wait` seconds.
    """

    wait: float = 0.0
    reason: str = ""
    detail: str = ""


class Book(Protocol):
    """Where `HostGate` asks."""

    def take(self, host: str, manners: dict[str, Any]) -> Leave:
        """Ask for a connection to a host."""

    def give(
        self, host: str, manners: dict[str, Any], reason: str, detail: str, pause: float
    ) -> None:
        """Give it back, and say how it went: `reason` is empty where the host did its part."""

    def rest(self, seconds: float) -> None:
        """Wait until something may have changed, at most so long."""


class HostBook:
    """The book itself. `holder` names the worker, so that a dead one's connections come back."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._changed = threading.Condition()

    def take(self, host: str, manners: dict[str, Any], holder: str = "") -> Leave:
        limits, now = Manners(**manners), time.monotonic()
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            self._hosts.move_to_end(host)
            self._shed(now)
            if state.alone_until > now:
                left = state.alone_until - now
                told = f"left alone for {left:.0f} s after {limits.host_failures} failures in a row"
                return Leave(left, "host_failing", f"{told}, last {state.reason}: {state.detail}")
            if state.paused_until > now:
                left = state.paused_until - now
                return Leave(left, state.reason, f"the host asked to wait {left:.0f} s more")
            if state.connections.total() >= limits.per_host:
                return Leave(_LONGEST_NAP)
            if state.next_start > now:
                return Leave(state.next_start - now)
            if limits.per_host_rate:
                state.next_start = now + 1 / limits.per_host_rate
            state.connections[holder] += 1
            return Leave()

    def give(
        self, host: str, manners: dict[str, Any], reason: str, detail: str, pause: float,
        holder: str = "",
    ) -> None:  # fmt: skip
        limits, now = Manners(**manners), time.monotonic()
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            state.connections[holder] -= 1
            state.connections += Counter()  # drops what is not above zero
            state.recent *= math.exp((state.seen - now) / limits.host_cooldown)
            state.seen = now
            if reason:
                state.failures += 1
                state.reason, state.detail = reason, detail
            else:
                state.failures = 0
                state.recent += 1
            if pause > 0:
                state.paused_until = max(state.paused_until, now + min(pause, MAX_PAUSE))
            # A great host's last stragglers fail in a row too: hence its successes of late.
            if limits.host_failures and state.failures >= max(limits.host_failures, state.recent):
                state.alone_until = now + limits.host_cooldown
                # After the rest one more failure is enough.
                state.failures, state.recent = limits.host_failures - 1, 0.0
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait(min(seconds, _LONGEST_NAP))

    def drop(self, holder: str) -> None:
        """A worker is gone: its connections are closed."""
        with self._changed:
            for state in self._hosts.values():
                state.connections.pop(holder, None)
            self._changed.notify_all()

    def _shed(self, now: float) -> None:
        while len(self._hosts) > _REMEMBERED:
            oldest = next(iter(self._hosts))
            if not self._hosts[oldest].is_forgettable(now):
                self._hosts.move_to_end(oldest)
                return
            del self._hosts[oldest]


_find: Callable[[], Book | None] | None = None


def share_book(find: Callable[[], Book | None] | None) -> None:
    """Let this process's fetches ask `find`, in the thread of their task, for a shared book.

    An executor whose workers fetch side by side installs it in each of them; None takes it away.
    """
    global _find
    _find = find


def shared_book() -> Book | None:
    """The shared book that this task's fetch must ask; None: the process's own is enough."""
    return _find() if _find is not None else None


class HostGate:
    """The way to a host: entered for one request, left with what came of it."""

    def __init__(self, manners: Manners) -> None:
        self._manners = asdict(manners)
        self._own = HostBook()
        self._book: Book = self._own
        self.waited = 0.0
        """Seconds, over all threads, for which our own limits held requests back."""
        self._lock = threading.Lock()

    def go_by(self, book: Book | None) -> None:
        """Ask another book from here on; None: this gate's own."""
        self._book = book or self._own

    @contextlib.contextmanager
    def visit(self, host: str) -> Iterator[None]:
        """Hold one of the host's connections.

        Waiting for our own limits does not count against the deadline, the host's wishes do.
        Raises FetchError: host_failing, or the reason for which the host asked to wait.
        """
        book = self._book
        self._enter(book, host)
        reason, detail, pause = "", "", 0.0
        try:
            yield
        except FetchError as error:
            if error.reason in FAILURES:
                reason, detail = error.reason, error.detail
                pause = error.wait if reason in _PAUSING else 0.0
            raise
        finally:
            book.give(host, self._manners, reason, detail, pause)

    def _enter(self, book: Book, host: str) -> None:
        while (leave := book.take(host, self._manners)).wait > 0:
            if not leave.reason:
                before = time.monotonic()
                with clock.stopped():
                    book.rest(leave.wait)
                with self._lock:
                    self.waited += time.monotonic() - before
            elif leave.reason == "host_failing" or leave.wait >= clock.left():
                raise FetchError(leave.reason, f"{host}: {leave.detail}")
            else:
                book.rest(leave.wait)
