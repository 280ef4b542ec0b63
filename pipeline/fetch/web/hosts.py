"""Limits on the load put on each host: connections, request rate, pauses, rest after failures.

A limiter holds the state of every host for the threads of one process, or, if an executor installs
a shared one with `share_limiter`, for all workers of a cluster.
"""

import contextlib
import math
import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pipeline.config.download import DownloadConfig
from pipeline.fetch.web.sockets import clock
from pipeline.words.failure import FetchError

MAX_PAUSE = 3_600.0
"""Seconds of a Retry-After that are remembered for a host's other rows."""
FAILURES = frozenset(
    {"timeout", "connection_failed", "tls_error", "dns_failure", "http_malformed",
     "http_server_error", "http_rate_limited"}
)  # fmt: skip
"""Reasons that concern the host and not a single file."""
_PAUSING = frozenset({"http_server_error", "http_rate_limited"})
_REMEMBERED = 100_000
"""Hosts whose state is kept."""
_PORT = re.compile(r":\d+$")
_LONGEST_WAIT = 1.0
"""Seconds after which a thread asks again for a permit of a busy host."""


@dataclass(frozen=True)
class HostLimits:
    """The job's limits for each host: see the keys of `download:`.

    `per_host_rate` is requests a second, `host_cooldown` seconds.
    """

    per_host: int
    per_host_rate: float | None
    host_failures: int | None
    host_cooldown: float

    @classmethod
    def of(cls, config: DownloadConfig) -> "HostLimits":
        return cls(
            config.per_host, config.per_host_rate, config.host_failures, config.host_cooldown
        )


@dataclass
class _Host:
    """Times are of `time.monotonic`, seconds."""

    connections: Counter[str] = field(default_factory=Counter)
    """Open ones, by holder."""
    next_start: float = 0.0
    """Earliest time of the next request, by the rate."""
    failures: int = 0
    """Consecutive failures up to now."""
    recent: float = 0.0
    """Successes, each decaying over `host_cooldown` seconds, as of `recent_at`."""
    recent_at: float = 0.0
    cooldown_until: float = 0.0
    paused_until: float = 0.0
    pause: float = 0.0
    """Seconds that the host last asked to wait."""
    reason: str = ""
    """Of the last failure, with its detail."""
    detail: str = ""

    def is_forgettable(self, now: float) -> bool:
        busy = self.connections or self.failures
        return not busy and max(self.next_start, self.cooldown_until, self.paused_until) <= now


@dataclass(frozen=True)
class Permit:
    """A limiter's answer: granted (`wait` is 0), ask again after `wait` seconds, or refused.

    A refusal has a `reason` and a `detail`; it holds for `wait` seconds.
    """

    wait: float = 0.0
    reason: str = ""
    detail: str = ""


class HostLimiter(Protocol):
    """What `HostGate` asks for permits. `limits` is a HostLimits as a dict, so that it travels."""

    def acquire(self, host: str, limits: dict[str, Any]) -> Permit:
        """Ask for a connection to a host."""

    def release(
        self, host: str, limits: dict[str, Any], reason: str, detail: str, pause: float
    ) -> None:
        """Give the connection back with its outcome: `reason` is empty unless the host failed.

        `pause` is how many seconds the host asked to wait.
        """

    def wait(self, seconds: float) -> None:
        """Wait until a permit may have become free, at most so long."""


class LocalHostLimiter:
    """Keeps the hosts' state in this process.

    `holder` names the worker that asks, so that the connections of one that died can be freed.
    """

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._changed = threading.Condition()

    def acquire(self, host: str, limits: dict[str, Any], holder: str = "") -> Permit:
        own, now = HostLimits(**limits), time.monotonic()
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            self._hosts.move_to_end(host)
            self._evict(now)
            if state.cooldown_until > now:
                left = state.cooldown_until - now
                # Not what is left of the time: the same answers give the same messages.
                rest = (
                    f"left alone for {own.host_cooldown:.0f} s after {own.host_failures} failures"
                )
                return Permit(
                    left, "host_failing", f"{rest} in a row, last {state.reason}: {state.detail}"
                )
            if state.paused_until > now:
                left = state.paused_until - now
                asked = f"the host asked to wait {state.pause:.0f} s"
                return Permit(left, state.reason, asked)
            if state.connections.total() >= own.per_host:
                return Permit(_LONGEST_WAIT)
            if state.next_start > now:
                return Permit(state.next_start - now)
            if own.per_host_rate:
                state.next_start = now + 1 / own.per_host_rate
            state.connections[holder] += 1
            return Permit()

    def release(
        self, host: str, limits: dict[str, Any], reason: str, detail: str, pause: float,
        holder: str = "",
    ) -> None:  # fmt: skip
        own, now = HostLimits(**limits), time.monotonic()
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            state.connections[holder] -= 1
            state.connections += Counter()  # removes entries that are not positive
            state.recent *= math.exp((state.recent_at - now) / own.host_cooldown)
            state.recent_at = now
            if reason:
                state.failures += 1
                state.reason, state.detail = reason, detail
            else:
                state.failures = 0
                state.recent += 1
            if pause > 0:
                state.pause = min(pause, MAX_PAUSE)
                state.paused_until = max(state.paused_until, now + min(pause, MAX_PAUSE))
            # The slowest requests of a shard end last, so a large host that mostly answers has
            # consecutive failures too: they must also outnumber its recent successes.
            if own.host_failures and state.failures >= max(own.host_failures, state.recent):
                state.cooldown_until = now + own.host_cooldown
                # After the cooldown one more failure starts the next.
                state.failures, state.recent = own.host_failures - 1, 0.0
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait(min(seconds, _LONGEST_WAIT))

    def release_all(self, holder: str) -> None:
        """Free the connections of a worker that is gone."""
        with self._changed:
            for state in self._hosts.values():
                state.connections.pop(holder, None)
            self._changed.notify_all()

    def _evict(self, now: float) -> None:
        while len(self._hosts) > _REMEMBERED:
            oldest = next(iter(self._hosts))
            if not self._hosts[oldest].is_forgettable(now):
                self._hosts.move_to_end(oldest)
                return
            del self._hosts[oldest]


_find: Callable[[], HostLimiter | None] | None = None


def share_limiter(find: Callable[[], HostLimiter | None] | None) -> None:
    """Have this process's fetches call `find`, in the thread of their task, for a shared limiter.

    An executor whose workers fetch side by side installs it in each of them; None removes it.
    """
    global _find
    _find = find


def shared_limiter() -> HostLimiter | None:
    """The limiter that this task's fetch shares with other processes; None: it shares none."""
    return _find() if _find is not None else None


class HostGate:
    """One process's access to hosts: each request holds a permit while it lasts."""

    def __init__(self, limits: HostLimits) -> None:
        self._limits = asdict(limits)
        self._slow: OrderedDict[str, float] = OrderedDict()
        self._own = LocalHostLimiter()
        self._limiter: HostLimiter = self._own
        self.waited = 0.0
        """Seconds, over all threads, for which the job's own limits held requests back."""
        self._lock = threading.Lock()

    def use(self, limiter: HostLimiter | None) -> None:
        """Ask another limiter from here on; None: this gate's own."""
        self._limiter = limiter or self._own

    def slow_down(self, host: str, delay: float) -> None:
        """Leave at least `delay` seconds between requests to a host from here on."""
        with self._lock:
            self._slow[host] = delay
            self._slow.move_to_end(host)
            if len(self._slow) > _REMEMBERED:
                self._slow.popitem(last=False)

    def _limits_of(self, host: str) -> dict[str, Any]:
        delay, rate = self._slow.get(host), self._limits["per_host_rate"]
        if not delay or (rate and rate <= 1 / delay):
            return self._limits
        return {**self._limits, "per_host_rate": 1 / delay}

    @contextlib.contextmanager
    def permit(self, host: str) -> Iterator[None]:
        """Hold one of the host's connections.

        Waiting for the job's own limits does not count against the deadline; waiting because the
        host asked for it does. Raises FetchError: host_failing, or the reason for which the host
        asked to wait.
        """
        limiter = self._limiter
        self._acquire(limiter, host)
        reason, detail, pause = "", "", 0.0
        try:
            yield
        except FetchError as error:
            if error.reason in FAILURES:
                reason, detail = error.reason, error.detail
                pause = error.wait if reason in _PAUSING else 0.0
            raise
        finally:
            limiter.release(host, self._limits, reason, detail, pause)

    def _acquire(self, limiter: HostLimiter, host: str) -> None:
        limits = self._limits_of(host)
        while (permit := limiter.acquire(host, limits)).wait > 0:
            if not permit.reason:
                before = time.monotonic()
                with clock.stopped():
                    limiter.wait(permit.wait)
                with self._lock:
                    self.waited += time.monotonic() - before
            elif permit.reason == "host_failing" or permit.wait >= clock.left():
                raise FetchError(permit.reason, f"{_PORT.sub('', host)}: {permit.detail}")
            else:
                limiter.wait(permit.wait)
