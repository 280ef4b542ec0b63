"""A fetch in a process of its own takes its permits from the limiter that the task shares."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.fetch.web.asking import call_with_limits
from pipeline.fetch.web.hosts import LocalHostLimiter, share_limiter, shared_limiter
from pipeline.words.errors import DiedError

LIMITS = {"per_host": 2, "per_host_rate": None, "host_failures": 1, "host_cooldown": 60.0}


@pytest.fixture
def limiter() -> Iterator[LocalHostLimiter]:
    limiter = LocalHostLimiter()
    share_limiter(lambda: limiter)
    yield limiter
    share_limiter(None)


def ask(hosts: list[str], failing: str = "", dies: bool = False) -> list[tuple[float, str]]:
    """In the other process: the answers for these hosts, one of which then fails."""
    limiter: Any = shared_limiter()
    answers = [limiter.acquire(host, LIMITS) for host in hosts]
    if failing:
        limiter.release(failing, LIMITS, "timeout", "too slow", 0.0)
        answers.append(limiter.acquire(failing, LIMITS))
    if dies:
        os._exit(3)
    return [(answer.wait, answer.reason) for answer in answers]


def test_permits_and_outcomes_are_shared(limiter: LocalHostLimiter) -> None:
    assert limiter.acquire("a", LIMITS).wait == 0

    answers = call_with_limits(ask, ["a", "a", "b"], "b")

    assert [reason for _, reason in answers] == ["", "", "", "host_failing"]
    assert [wait > 0 for wait, _ in answers] == [False, True, False, True]
    assert limiter.acquire("b", LIMITS).reason == "host_failing"


def test_connections_of_a_process_that_died_are_free_again(limiter: LocalHostLimiter) -> None:
    with pytest.raises(DiedError, match="died of exit code 3"):
        call_with_limits(ask, ["a", "a"], "", True)

    assert [limiter.acquire("a", LIMITS).wait > 0 for _ in range(3)] == [False, False, True]


def test_without_a_shared_limiter_there_is_nobody_to_ask() -> None:
    assert call_with_limits(none_is_shared) is True


def none_is_shared() -> bool:
    return shared_limiter() is None
