"""A function in a process of its own: what it returns, raises or dies of."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.words import memory
from pipeline.words.apart import ask, call_apart, tell
from pipeline.words.errors import DiedError
from pipeline.words.heartbeat import beat, last_beat


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    memory.set_worker_limit(400 << 20)
    yield
    memory.set_worker_limit(None)


def answer(*values: Any) -> Any:
    return values, os.getpid()


def talk(count: int) -> list[int]:
    for number in range(count):
        tell(number)
    return [ask("double", number) for number in range(count)]


class OddError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def end(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "exit":
        os._exit(0)
    if how == "sys.exit":
        sys.exit(7)
    if how == "raise":
        raise FileNotFoundError("no such thing")
    if how == "odd":
        raise OddError(1, 2)
    if how == "huge":
        np.ones(10**15)
    if how == "bad_alloc":
        raise RuntimeError("std::bad_alloc")
    held = []
    while how == "eat":
        held.append(np.ones(2 << 20))
        time.sleep(0.01)


def test_what_it_returns_and_that_it_was_another_process() -> None:
    values, process = call_apart(answer, 1, "two", None)
    assert values == (1, "two", None)
    assert process != os.getpid()


def test_it_tells_and_asks() -> None:
    told: list[int] = []
    doubled = call_apart(talk, 3, note=told.append, answer=lambda what, n: 2 * n)
    assert (told, doubled) == ([0, 1, 2], [0, 2, 4])


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("kill", "signal 9 (SIGKILL)"),
        ("segfault", "signal 11 (SIGSEGV)"),
        ("abort", "signal 6 (SIGABRT)"),
        ("exit", "exit code 0"),
        ("sys.exit", "exit code 7"),
    ],
)
def test_what_it_dies_of(how: str, cause: str) -> None:
    with pytest.raises(DiedError) as caught:
        call_apart(end, how)
    assert (caught.value.cause, caught.value.of_memory) == (cause, False)


def test_the_memory_of_the_process_that_started_it_does_not_count() -> None:
    held = np.ones(45 << 20)  # 360 MiB
    with pytest.raises(DiedError, match="died of signal 9"):
        call_apart(end, "kill")
    assert held.any()


@pytest.mark.parametrize(
    ("how", "start", "finish"),
    [
        ("eat", "memory: ", " MiB held, the worker's limit is 400 MiB"),
        ("huge", "memory: Unable to allocate 7.11 PiB ", ", the worker's limit is 400 MiB"),
        ("bad_alloc", "memory: std::bad_alloc; ", ", the worker's limit is 400 MiB"),
    ],
)
def test_memory_is_named(how: str, start: str, finish: str) -> None:
    with pytest.raises(DiedError) as caught:
        call_apart(end, how)
    assert caught.value.of_memory
    assert caught.value.cause.startswith(start)
    assert caught.value.cause.endswith(finish)


def test_an_exception_comes_with_its_traceback() -> None:
    with pytest.raises(FileNotFoundError, match="no such thing") as caught:
        call_apart(end, "raise")
    assert "in end" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        call_apart(end, "odd")


def get_on(seconds: float) -> None:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        beat()
        time.sleep(0.1)


def test_its_progress_is_that_of_the_thread_that_waits() -> None:
    before = last_beat(threading.get_ident())
    call_apart(get_on, 2.5)
    assert last_beat(threading.get_ident()) > before


def get_on_and_hang(seconds: float) -> None:
    for _ in range(3):
        time.sleep(seconds)
        tell("still here")
    time.sleep(600)


@pytest.mark.slow
def test_one_that_does_not_get_on_is_ended() -> None:
    told: list[str] = []
    started = time.monotonic()
    with pytest.raises(DiedError, match=r"died of a hang \(no progress for 3 s\)"):
        call_apart(get_on_and_hang, 1.5, note=told.append, stall=3.0)
    assert len(told) == 3
    assert time.monotonic() - started > 3 * 1.5 + 3


WAITS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_apart import note_and_wait
from pipeline.words.apart import call_apart
call_apart(note_and_wait, {file!r})
"""


def note_and_wait(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    file = tmp_path / "process"
    code = WAITS.format(folder=str(Path(__file__).parent), file=str(file))
    parent = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    parent.send_signal(how)
    parent.wait()
    while psutil.pid_exists(pid := int(file.read_text())):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
