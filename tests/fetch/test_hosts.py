"""The limiter of hosts: connections, request rate, requested pauses, cooldown after failures."""

import threading
import time
from dataclasses import asdict
from typing import Any

import pytest

from pipeline.fetch.web.hosts import (
    HostGate,
    HostLimits,
    LocalHostLimiter,
    Permit,
    share_limiter,
)
from pipeline.fetch.web.sockets import WaitLimits, clock
from pipeline.words.failure import FetchError

PLAIN: dict[str, Any] = {
    "per_host": 2,
    "per_host_rate": None,
    "host_failures": 3,
    "host_cooldown": 0.3,
}


def limits(**options: Any) -> dict[str, Any]:
    return asdict(HostLimits(**PLAIN | options))


def fail(
    limiter: LocalHostLimiter, host: str, times: int, reason: str = "timeout", pause: float = 0
) -> None:
    for _ in range(times):
        assert limiter.acquire(host, limits()) == Permit()
        limiter.release(host, limits(), reason, "no first byte", pause)


def succeed(limiter: LocalHostLimiter, host: str, times: int) -> None:
    for _ in range(times):
        assert limiter.acquire(host, limits()) == Permit()
        limiter.release(host, limits(), "", "", 0)


def test_each_host_has_its_own_limit_of_connections():
    limiter = LocalHostLimiter()

    assert [limiter.acquire("a", limits()).wait > 0 for _ in range(3)] == [False, False, True]
    assert limiter.acquire("b", limits()) == Permit()
    limiter.release("a", limits(), "", "", 0)
    assert limiter.acquire("a", limits()) == Permit()


def test_requests_to_a_host_start_at_the_given_rate():
    limiter, slow = LocalHostLimiter(), limits(per_host=9, per_host_rate=20)

    assert limiter.acquire("a", slow) == Permit()
    assert limiter.acquire("a", slow).wait == pytest.approx(0.05, abs=0.02)
    time.sleep(0.05)
    assert limiter.acquire("a", slow) == Permit()


def test_failures_in_a_row_start_a_cooldown_and_one_more_starts_another():
    limiter = LocalHostLimiter()
    fail(limiter, "a", 2)
    succeed(limiter, "a", 1)  # a success resets the count
    fail(limiter, "a", 3)

    permit = limiter.acquire("a", limits())
    assert permit.reason == "host_failing"
    assert "3 failures in a row, last timeout: no first byte" in permit.detail
    assert limiter.acquire("b", limits()) == Permit()

    time.sleep(0.31)
    fail(limiter, "a", 1)
    assert limiter.acquire("a", limits()).reason == "host_failing"


def test_late_failures_of_a_host_that_mostly_succeeds_start_no_cooldown():
    limiter = LocalHostLimiter()
    succeed(limiter, "a", 20)
    fail(limiter, "a", 15)
    assert limiter.acquire("a", limits()) == Permit()
    limiter.release("a", limits(), "timeout", "x", 0)

    time.sleep(0.6)  # two cooldowns: of 20 successes fewer than 3 are left
    fail(limiter, "a", 1)

    assert limiter.acquire("a", limits()).reason == "host_failing"


def test_all_threads_wait_when_a_host_asks_for_a_pause():
    limiter = LocalHostLimiter()
    fail(limiter, "a", 1, "http_rate_limited", pause=0.2)

    permit = limiter.acquire("a", limits())
    assert permit.reason == "http_rate_limited"
    assert 0.1 < permit.wait <= 0.2
    time.sleep(0.21)
    assert limiter.acquire("a", limits()) == Permit()


def test_the_connections_of_a_dead_worker_are_freed():
    limiter = LocalHostLimiter()
    for _ in range(2):
        assert limiter.acquire("a", limits(), "tcp://dead") == Permit()
    assert limiter.acquire("a", limits(), "tcp://other").wait > 0

    limiter.release_all("tcp://dead")

    assert limiter.acquire("a", limits(), "tcp://other") == Permit()


def test_idle_hosts_are_evicted_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr("pipeline.fetch.web.hosts._REMEMBERED", 50)
    limiter = LocalHostLimiter()
    long = limits(host_cooldown=60)
    for _ in range(3):
        assert limiter.acquire("failing", long) == Permit()
        limiter.release("failing", long, "timeout", "no first byte", 0)
    for i in range(200):
        assert limiter.acquire(f"host{i}", limits()) == Permit()
        limiter.release(f"host{i}", limits(), "", "", 0)

    assert len(limiter._hosts) <= 51
    assert limiter.acquire("failing", long).reason == "host_failing"


def gate(**options: Any) -> HostGate:
    return HostGate(HostLimits(**PLAIN | options))


def waits(total: float) -> WaitLimits:
    return WaitLimits(total, 1, 1, 1, 1000)


def test_waiting_for_our_own_limit_does_not_count_against_the_deadline():
    way = gate(per_host=1)
    entered = threading.Event()

    def hold() -> None:
        clock.start(waits(5))
        with way.permit("a"):
            entered.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait()
    clock.start(waits(0.2))
    with way.permit("a"):
        assert clock.left() > 0.1
    other.join()


@pytest.mark.parametrize(("pause", "total", "comes_in"), [(0.2, 5.0, True), (3.0, 1.0, False)])
def test_a_pause_is_waited_for_if_the_deadline_allows_it(pause, total, comes_in):
    way = gate()
    clock.start(waits(total))
    with pytest.raises(FetchError, match="busy"), way.permit("a"):
        raise FetchError("http_rate_limited", "busy", wait=pause)

    clock.start(waits(total))
    started = time.monotonic()
    if comes_in:
        with way.permit("a"):
            assert time.monotonic() - started >= pause - 0.05
    else:
        with pytest.raises(FetchError, match=r"http_rate_limited: a: .* wait 3 s"), way.permit("a"):
            pass
        assert time.monotonic() - started < 0.5


def test_a_failure_of_one_file_does_not_count_against_its_host():
    way = gate(host_failures=1)
    for reason in ("http_not_found", "too_large", "opted_out_robots_tag", "http_forbidden"):
        clock.start(waits(5))
        with pytest.raises(FetchError, match=reason), way.permit("a"):
            raise FetchError(reason, "x")
    with way.permit("a"):
        pass


def test_a_fetch_uses_the_shared_limiter(fetch, serve, config):
    shared = LocalHostLimiter()
    site = serve({"/a.jpg": lambda page: page.answer(404)})
    host = site.base.split("//")[1]
    patient = limits(host_cooldown=60)
    for _ in range(3):
        shared.acquire(host, patient)
        shared.release(host, patient, "timeout", "no first byte", 0)
    thread = []

    def find() -> LocalHostLimiter:
        thread.append(threading.current_thread())
        return shared

    share_limiter(find)
    try:
        [result] = fetch([f"{site.base}/a.jpg"], config(**PLAIN))
    finally:
        share_limiter(None)
    assert (result.reason, site.connections) == ("host_failing", 0)
    assert thread == [threading.current_thread()]  # Dask identifies a task by its thread
    [own] = fetch([f"{site.base}/a.jpg"], config(**PLAIN))
    assert own.reason == "http_not_found"
