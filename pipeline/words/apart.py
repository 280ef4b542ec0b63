"""Runs a function in a process of its own; if that dies, it is known what of.

`python -P -m pipeline.words.apart FD`, started by `call_apart`. Frames on the socket FD, pickled:
first the module path, the function and its arguments; from then on what either side has to say.
Unlike `multiprocessing`, this also works in the daemonic processes that Dask's workers are. The
process ends with the one that started it.
"""

import contextlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from queue import SimpleQueue
from typing import Any

from pipeline.words import memory
from pipeline.words.errors import DiedError
from pipeline.words.heartbeat import beat, last_beat
from pipeline.words.interrupts import ignore_terminal
from pipeline.words.processes import read_frame, send_frame, start_module

_POLL = 0.1
"""Seconds between two looks at the memory of the process."""
_SHARE = 0.95
"""Share of the memory limit at which it is ended, as Dask's nannies do with workers."""
_GRACE = 5.0
"""Seconds in which the process must end after it has closed its socket."""


def call_apart(
    work: Callable[..., Any],
    *args: Any,
    note: Callable[[Any], None] | None = None,
    answer: Callable[..., Any] | None = None,
    stall: float | None = None,
) -> Any:
    """`work(*args)` in a new process: what it returns or raises. All of it must be picklable.

    `note` is called with what the function gives to `tell`, `answer` answers what it asks (`ask`).
    DiedError if the process dies, holds too much memory or cannot get any more, or for `stall`
    seconds shows no progress: by `heartbeat.beat`, or by what it tells or asks.
    """
    ours, theirs = socket.socketpair()
    killed_before = memory.kills()
    beat()
    with ours:
        with theirs:
            process = start_module("pipeline.words.apart", theirs)
        watched = _Watched(process, stall)
        try:
            with contextlib.suppress(ConnectionError):  # what it died of is found below
                send_frame(ours, pickle.dumps(sys.path))
                send_frame(ours, pickle.dumps((work, args)))
            while True:
                kind, *rest = _hear(ours, watched, killed_before)
                beat()
                if kind == "tell" and note is not None:
                    note(*rest)
                elif kind == "ask" and answer is not None:
                    number, question = rest
                    data = pickle.dumps((number, answer(*question)))
                    with contextlib.suppress(ConnectionError):
                        send_frame(ours, data)
                elif kind == "result":
                    return rest[0]
                elif kind == "error":
                    raise _with_memory(rest[0], watched)
        finally:
            watched.end()


def _hear(connection: socket.socket, watched: "_Watched", killed_before: int) -> Any:
    """What the process says next. DiedError if it is dead."""
    while not wait([connection], _POLL):
        watched.look()
    watched.look()
    try:
        said = pickle.loads(read_frame(connection))  # noqa: S301 - from a process of ours
    except (EOFError, ConnectionError):
        raise watched.death(memory.kills() > killed_before) from None
    watched.has_got_on()
    return said


class _Watched:
    """A process, the most memory that it was seen to hold, and whether it was ended for that or
    because it did not get on since the function began: on a busy machine imports take long."""

    def __init__(self, process: subprocess.Popen[bytes], stall: float | None) -> None:
        self._process, self._stall = process, stall
        self._quiet, self._looked = 0.0, time.monotonic()
        self._started = False
        self._limit = memory.memory_limit()
        self.peak = 0
        self._too_much = False

    def look(self) -> None:
        self.peak = max(self.peak, memory.resident(self._process.pid))
        if self.peak > _SHARE * self._limit.size and not self._too_much:
            self._too_much = True
            self._process.kill()
        # A stopped process, or a laptop that slept, looks late: that time does not count.
        self._quiet += min(time.monotonic() - self._looked, 10 * _POLL)
        self._looked = time.monotonic()
        if self._hangs():
            self._process.kill()

    def has_got_on(self) -> None:
        self._started, self._quiet = True, 0.0

    def _hangs(self) -> bool:
        return self._started and self._stall is not None and self._quiet > self._stall

    def held(self) -> str:
        """How much memory it held, and the limit, in words."""
        limit = self._limit
        return f"{memory.shown(self.peak)} held, {limit.whose} limit is {memory.shown(limit.size)}"

    def death(self, by_kernel: bool) -> DiedError:
        """What it died of; `by_kernel`: the kernel has ended a process for its memory meanwhile."""
        code = self._wait()
        close = self.peak > memory.CLOSE * self._limit.size
        if self._too_much or (code == -signal.SIGKILL and (by_kernel or close)):
            return DiedError(f"memory: {self.held()}", True)
        if code == -signal.SIGKILL and self._hangs():
            return DiedError(f"a hang (no progress for {self._stall:g} s)", False)
        if code >= 0:
            return DiedError(f"exit code {code}", False)
        return DiedError(f"signal {-code} ({signal.Signals(-code).name})", False)

    def _wait(self) -> int:
        # The peak that the kernel has of it would be no help: it begins with that of this process.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_GRACE)
        self._process.kill()
        return self._process.wait()

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()


def _with_memory(error: BaseException, watched: _Watched) -> BaseException:
    if memory.is_out_of_memory(error):
        return DiedError(f"memory: {error or 'none is left'}; {watched.held()}", True)
    return error


# The other side.


class _Link:
    """The socket of a process that was started apart, and who waits for which answer."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, SimpleQueue[Any]] = {}

    def send(self, *said: Any) -> None:
        data = pickle.dumps(said)
        with self._sending:
            send_frame(self._connection, data)

    def ask(self, question: tuple[Any, ...]) -> Any:
        number, answers = next(self._numbers), SimpleQueue[Any]()
        self._asked[number] = answers
        self.send("ask", number, question)
        return answers.get()

    def listen(self) -> None:
        """Pass on answers; end this process with the one that started it."""
        try:
            while True:
                number, answer = pickle.loads(read_frame(self._connection))  # noqa: S301
                self._asked.pop(number).put(answer)
        except (OSError, EOFError):
            os._exit(1)

    def pass_beats_on(self, thread: int) -> None:
        before = last_beat(thread)
        while True:
            time.sleep(1.0)
            if last_beat(thread) != before:
                before = last_beat(thread)
                self.send("beat")


_link: list[_Link] = []


def tell(what: Any) -> None:
    """In a process that was started apart: give something to `note` of the one that started it."""
    _link[0].send("tell", what)


def ask(*question: Any) -> Any:
    """In a process that was started apart: the answer of the one that started it, to any thread."""
    return _link[0].ask(question)


def serve(descriptor: int) -> None:
    """Run the function that comes over the socket, and end this process."""
    ignore_terminal()  # Ctrl-C ends the one that started it
    connection = socket.socket(fileno=descriptor)
    sys.path[:] = pickle.loads(read_frame(connection))  # noqa: S301 - from whoever started us
    link = _Link(connection)
    _link[:] = [link]
    try:
        work, args = pickle.loads(read_frame(connection))  # noqa: S301
        me = threading.get_ident()
        threading.Thread(target=link.listen, daemon=True).start()
        threading.Thread(target=link.pass_beats_on, args=(me,), daemon=True).start()
        link.send("start")
        said: tuple[Any, ...] = ("result", work(*args))
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else bool(error.code))
    except BaseException as error:
        said = ("error", _picklable(error))
    link.send(*said)
    # Nothing else is to be done, and what libraries do at exit can itself fail.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _picklable(error: BaseException) -> BaseException:
    """The error with its traceback as a note; one of its text if it cannot be pickled."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301
        if str(copy) == str(error):
            return error
    except Exception:  # noqa: S110 - whatever its class does
        pass
    other = RuntimeError(f"{type(error).__name__}: {error}")
    other.__notes__ = error.__notes__
    return other


if __name__ == "__main__":
    # This module by its name, because the function's own modules import it by that.
    from pipeline.words import apart

    apart.serve(int(sys.argv[1]))
