"""The book of hosts: few connections, a pace, rests on request and after failures."""

import threading
import time
from dataclasses import asdict
from typing import Any

import pytest

from pipeline.failure import FetchError
from pipeline.fetch.web.hosts import HostBook, HostGate, Leave, Manners
from pipeline.fetch.web.sockets import Patience, clock

PLAIN: dict[str, Any] = {
    "per_host": 2,
    "per_host_rate": None,
    "host_failures": 3,
    "host_cooldown": 0.3,
}


def manners(**options: Any) -> dict[str, Any]:
    return asdict(Manners(**PLAIN | options))


def fail(book: HostBook, host: str, times: int, reason: str = "timeout", pause: float = 0) -> None:
    for _ in range(times):
        assert book.take(host, manners()) == Leave()
        book.give(host, manners(), reason, "no first byte", pause)


def succeed(book: HostBook, host: str, times: int) -> None:
    for _ in range(times):
        assert book.take(host, manners()) == Leave()
        book.give(host, manners(), "", "", 0)


def test_a_host_has_so_many_connections_and_each_host_its_own():
    book = HostBook()

    assert [book.take("a", manners()).wait > 0 for _ in range(3)] == [False, False, True]
    assert book.take("b", manners()) == Leave()
    book.give("a", manners(), "", "", 0)
    assert book.take("a", manners()) == Leave()


def test_starts_keep_their_distance():
    book, slow = HostBook(), manners(per_host=9, per_host_rate=20)

    assert book.take("a", slow) == Leave()
    assert book.take("a", slow).wait == pytest.approx(0.05, abs=0.02)
    time.sleep(0.05)
    assert book.take("a", slow) == Leave()


def test_failures_in_a_row_are_followed_by_a_rest_and_one_more_by_another():
    book = HostBook()
    fail(book, "a", 2)
    succeed(book, "a", 1)  # an answer: the count begins again
    fail(book, "a", 3)

    leave = book.take("a", manners())
    assert leave.reason == "host_failing"
    assert "3 failures in a row, last timeout: no first byte" in leave.detail
    assert book.take("b", manners()) == Leave()

    time.sleep(0.31)
    fail(book, "a", 1)
    assert book.take("a", manners()).reason == "host_failing"


def test_the_last_stragglers_of_a_host_that_mostly_answers_are_no_sign():
    book = HostBook()
    succeed(book, "a", 20)
    fail(book, "a", 15)
    assert book.take("a", manners()) == Leave()
    book.give("a", manners(), "timeout", "x", 0)

    time.sleep(0.6)  # twice the rest: of 20 successes not 3 are left
    fail(book, "a", 1)

    assert book.take("a", manners()).reason == "host_failing"


def test_a_host_that_asks_for_a_pause_gets_it_from_all():
    book = HostBook()
    fail(book, "a", 1, "http_rate_limited", pause=0.2)

    leave = book.take("a", manners())
    assert leave.reason == "http_rate_limited"
    assert 0.1 < leave.wait <= 0.2
    time.sleep(0.21)
    assert book.take("a", manners()) == Leave()


def test_a_dead_workers_connections_come_back():
    book = HostBook()
    for _ in range(2):
        assert book.take("a", manners(), "tcp://dead") == Leave()
    assert book.take("a", manners(), "tcp://other").wait > 0

    book.drop("tcp://dead")

    assert book.take("a", manners(), "tcp://other") == Leave()


def test_hosts_that_say_nothing_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr("pipeline.fetch.web.hosts._REMEMBERED", 50)
    book = HostBook()
    fail(book, "failing", 3)
    for i in range(200):
        assert book.take(f"host{i}", manners()) == Leave()
        book.give(f"host{i}", manners(), "", "", 0)

    assert len(book._hosts) <= 51
    assert book.take("failing", manners()).reason == "host_failing"


def gate(**options: Any) -> HostGate:
    return HostGate(Manners(**PLAIN | options))


def patience(total: float) -> Patience:
    return Patience(total, 1, 1, 1, 1000)


def test_waiting_for_our_own_limit_is_not_the_hosts_fault():
    way = gate(per_host=1)
    entered = threading.Event()

    def hold() -> None:
        clock.start(patience(5))
        with way.visit("a"):
            entered.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait()
    clock.start(patience(0.2))
    with way.visit("a"):
        assert clock.left() > 0.1
    other.join()


@pytest.mark.parametrize(("pause", "total", "comes_in"), [(0.2, 5.0, True), (3.0, 1.0, False)])
def test_a_pause_is_sat_out_where_the_deadline_allows_it(pause, total, comes_in):
    way = gate()
    clock.start(patience(total))
    with pytest.raises(FetchError, match="busy"), way.visit("a"):
        raise FetchError("http_rate_limited", "busy", wait=pause)

    clock.start(patience(total))
    started = time.monotonic()
    if comes_in:
        with way.visit("a"):
            assert time.monotonic() - started >= pause - 0.05
    else:
        with pytest.raises(FetchError, match=r"http_rate_limited: a: .* wait 3 s"), way.visit("a"):
            pass
        assert time.monotonic() - started < 0.5


def test_a_files_own_failure_says_nothing_about_its_host():
    way = gate(host_failures=1)
    for reason in ("http_not_found", "too_large", "opted_out_robots_tag", "http_forbidden"):
        clock.start(patience(5))
        with pytest.raises(FetchError, match=reason), way.visit("a"):
            raise FetchError(reason, "x")
    with way.visit("a"):
        pass
