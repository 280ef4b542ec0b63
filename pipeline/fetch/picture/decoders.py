"""A pool of decoding processes: a picture that crashes or hangs its decoder ends only one."""

import contextlib
import json
import queue
import socket
import subprocess
import threading

from pipeline.fetch.picture.child import BLOBS, READY
from pipeline.fetch.picture.make import Made
from pipeline.fetch.picture.recipe import Recipe
from pipeline.fetch.stopped import FetchStoppedError
from pipeline.words.failure import printable
from pipeline.words.processes import read_exactly, read_frame, send_frame, start_module
from pipeline.words.reasons import FETCH

_START = 120.0
"""Seconds that a decoder may take to start: on a busy machine its imports alone take several."""
_TRIES = 2
"""Processes that a picture may end before it is the picture's fault."""
_BUFFER = 1 << 20
_GREATEST = 1 << 30
"""Most bytes of a valid answer: those of a stored picture of the greatest size."""


class _BystanderError(Exception):
    """The process died while decoding another picture; this one was not started."""


class _Child:
    """One process and the socket to it. Pictures are answered in the order they are sent in."""

    def __init__(self, recipe: Recipe, timeout: float) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with theirs:
            self.process = start_module(
                "pipeline.fetch.picture.child", theirs, recipe.encode(),
                env={"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        # One socket object for each direction, because a socket has one timeout for both. Sending
        # may wait until the picture before is done, and then until this one has been read.
        self._in, self._out, self._timeout = ours, ours.dup(), timeout
        self._out.settimeout(2 * timeout + 1)
        self._sending = threading.RLock()
        self._turn = threading.Condition()
        self._sent = self._answered = 0
        self._is_ready = self._is_broken = False

    @property
    def is_alive(self) -> bool:
        return not self._is_broken and self.process.poll() is None

    def ask(self, data: bytes) -> Made:
        """The picture made of the bytes; the timeout starts when the process begins with them.

        Raises FetchStoppedError if the process does not start. If these bytes kill it: EOFError,
        OSError or TimeoutError, or, for an invalid answer, ValueError, TypeError or KeyError. If
        another picture's bytes kill it: _BystanderError.
        """
        with self._sending:
            self._await_start()
            mine, self._sent = self._sent, self._sent + 1
            cut = self._send(data)
        with self._turn:
            self._turn.wait_for(lambda: self._answered == mine or self._is_broken)
            if self._is_broken:
                raise _BystanderError
        try:
            if cut is not None:
                raise cut
            made = self._receive()
        except BaseException:
            with self._turn:
                self._is_broken = True
                self._turn.notify_all()
            raise
        with self._turn:
            self._answered += 1
            self._is_broken = made.reason == "decoder_crash"  # the process says so, and exits
            self._turn.notify_all()
        return made

    def _send(self, data: bytes) -> OSError | None:
        """The error if the other side is gone; `ask` finds out which picture was at fault."""
        try:
            send_frame(self._out, data)
        except OSError as error:
            return error
        return None

    def _receive(self) -> Made:
        lengths = read_exactly(self._in, 8)
        head, rest = (int.from_bytes(lengths[at : at + 4], "big") for at in (0, 4))
        if head + rest > _GREATEST:
            raise ValueError("an answer too large")
        answer = read_exactly(self._in, head + rest)
        values = json.loads(bytes(answer[:head]))
        at = head
        for name, size in zip(BLOBS, values.pop("sizes"), strict=True):
            values[name] = bytes(answer[at : at + size])
            at += size
        made = Made(**values)
        if at != len(answer) or not (made.reason is None or made.reason in FETCH):
            raise ValueError("an invalid answer")
        return made

    def _await_start(self) -> None:
        if self._is_ready:
            return
        self._in.settimeout(_START)
        with contextlib.suppress(OSError, EOFError):
            self._is_ready = bytes(read_frame(self._in)) == READY
        self._in.settimeout(self._timeout)
        if not self._is_ready:
            self._is_broken = True
            self.end()
            raise FetchStoppedError("a decoding process did not start; its error is printed above")

    def end(self, grace: float = 1.0) -> int:
        """End the process; its exit code, negative for the signal that killed it.

        It has `grace` seconds to end by itself, as it does when its socket closes: then the exit
        code is its own, and not that of our signal.
        """
        with contextlib.suppress(OSError):
            self._in.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
        with self._sending:  # no other thread is sending
            self._in.close()
            self._out.close()
        return code


class _Slot:
    """A slot of the pool; its process is replaced when it has died."""

    def __init__(self, recipe: Recipe, timeout: float) -> None:
        self._recipe, self._timeout = recipe, timeout
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def child(self) -> _Child:
        """The process; a new one if there is none or it is dead."""
        with self._lock:
            if self._child is None or not self._child.is_alive:
                self._child = _Child(self._recipe, self._timeout)
            return self._child

    def clear(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.end()


class Decoders:
    """At most `count` processes, started when first needed.

    While a process decodes one picture the next is already sent to it, so it never waits for input.
    """

    def __init__(self, recipe: Recipe, count: int, timeout: float) -> None:
        self._timeout = timeout
        self._slots = [_Slot(recipe, timeout) for _ in range(count)]
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for slot in self._slots * 2:
            self._free.put(slot)

    def start(self, most: int) -> None:
        """Start at most so many processes, without waiting until they are ready."""
        for slot in self._slots[:most]:
            slot.child()

    def make(self, data: bytes) -> Made:
        """`make_picture` in another process; `decoder_crash` if it dies, hangs or lacks memory.

        A picture is tried `_TRIES` times, each time in another process: what ended the first may
        have been the machine's want of memory or time, or what earlier pictures left in it.

        Waits for a free process. FetchStoppedError if none can be started.
        """
        slot = self._free.get()
        try:
            tries = 0
            while True:
                with contextlib.suppress(_BystanderError):
                    made = self._make(slot.child(), data)
                    tries += 1
                    if made.reason != "decoder_crash" or tries == _TRIES:
                        return made
        finally:
            self._free.put(slot)

    def _make(self, child: _Child, data: bytes) -> Made:
        try:
            made = child.ask(data)
            if made.reason == "decoder_crash":
                child.end()
            return made
        except TimeoutError:
            child.end(grace=0.0)
            return Made("decoder_crash", f"no answer after {self._timeout:g} s")
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            # An answer that cannot be read means a broken process, so none of it is used.
            code = child.end()
            died = f"signal {-code}" if code < 0 else f"exit code {code}"
            said = "" if isinstance(error, OSError | EOFError) else f", {type(error).__name__}"
            return Made("decoder_crash", printable(f"the decoder died ({died}{said})"))

    def close(self) -> None:
        """End the processes. Call it when no picture is being made."""
        for slot in self._slots:
            slot.clear()
