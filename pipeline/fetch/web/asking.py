"""Fetches in a process of their own keep to the limits for hosts that their worker shares."""

import time
from collections.abc import Callable
from typing import Any

from pipeline.fetch.web.hosts import HostLimiter, Permit, share_limiter, shared_limiter
from pipeline.words.apart import ask, call_apart

_POLL = 0.05
"""Seconds after which a permit of a host that is busy is asked for again."""


class AskingLimiter(HostLimiter):
    """The limiter of the process that started this one."""

    def acquire(self, host: str, limits: dict[str, Any]) -> Permit:
        return Permit(*ask("acquire", host, limits))

    def release(
        self, host: str, limits: dict[str, Any], reason: str, detail: str, pause: float
    ) -> None:
        ask("release", host, limits, reason, detail, pause)

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, _POLL))


def call_with_limits(
    work: Callable[..., Any],
    *args: Any,
    note: Callable[[Any], None] | None = None,
    stall: float | None = None,
) -> Any:
    """`call_apart`, where what is fetched counts for the limiter that this task shares, if any."""
    limiter = shared_limiter()
    if limiter is None:
        return call_apart(work, *args, note=note, stall=stall)
    held: list[tuple[str, dict[str, Any]]] = []

    def answer(what: str, host: str, limits: dict[str, Any], *outcome: Any) -> Any:
        if what == "release":
            held.remove((host, limits))
            return limiter.release(host, limits, *outcome)
        permit = limiter.acquire(host, limits)
        if not permit.wait:
            held.append((host, limits))
        return permit.wait, permit.reason, permit.detail

    try:
        return call_apart(_with_asking_limiter, work, *args, note=note, answer=answer, stall=stall)
    finally:
        for host, limits in held:  # of a process that died
            limiter.release(host, limits, "", "", 0.0)


def _with_asking_limiter(work: Callable[..., Any], *args: Any) -> Any:
    share_limiter(AskingLimiter)
    return work(*args)
