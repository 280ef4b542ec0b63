"""A few decoding processes: whatever a picture does to its decoder, it does to one of them."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path

import pipeline
from pipeline.fetch.failure import StationError, printable
from pipeline.fetch.picture.child import BLOBS, READY, read_exactly, read_frame
from pipeline.fetch.picture.make import Made
from pipeline.fetch.picture.recipe import Recipe
from pipeline.reasons import FETCH

_START = 120.0
"""Seconds that a decoder may take to start: on a busy machine imports alone take some."""
_BUFFER = 1 << 20
_GREATEST = 1 << 30
"""Bytes of an answer that are believed: what a stored picture of the greatest size may take."""


class _Child:
    """One process and the socket to it."""

    def __init__(self, recipe: Recipe) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        command = [sys.executable, "-m", "pipeline.fetch.picture.child"]
        here = str(Path(pipeline.__file__).parents[1])
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._socket = ours
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), recipe.encode()],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        ours.settimeout(_START)
        try:
            assert read_frame(ours) == READY
        except (OSError, EOFError) as error:
            self.end()
            raise StationError("a decoding process did not start; it says why above") from error

    def ask(self, data: bytes, timeout: float) -> Made:
        """What becomes of the bytes. EOFError or OSError if the process dies; TimeoutError."""
        end = time.monotonic() + timeout
        self._socket.settimeout(timeout)
        self._socket.sendall(len(data).to_bytes(4, "big"))
        self._socket.sendall(data)
        head = json.loads(self._frame(end))
        sizes = head.pop("sizes")
        if sum(sizes) > _GREATEST:
            raise ValueError("an answer too large")
        for name, size in zip(BLOBS, sizes, strict=True):
            head[name] = self._read(size, end)
        made = Made(**head)
        if made.reason is not None and made.reason not in FETCH:
            raise ValueError(f"an unknown reason {made.reason!r}")
        return made

    def _frame(self, end: float) -> bytes:
        size = int.from_bytes(self._read(4, end), "big")
        if size > _GREATEST:
            raise ValueError("an answer too large")
        return self._read(size, end)

    def _read(self, size: int, end: float) -> bytes:
        self._socket.settimeout(max(end - time.monotonic(), 0.001))
        return read_exactly(self._socket, size)

    def end(self, grace: float = 1.0) -> int:
        """End it; its exit code, negative for the signal that it died of.

        It has `grace` seconds to end by itself, as it does when its socket closes: its own end
        says more than ours.
        """
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(grace)
        self.process.kill()
        return self.process.wait()


class Decoders:
    """At most `count` processes, started when first needed, each given one picture at a time."""

    def __init__(self, recipe: Recipe, count: int, timeout: float) -> None:
        self._recipe = recipe
        self._timeout = timeout
        # The last used first: what few pictures need few processes.
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self.count = count
        for _ in range(count):
            self._idle.put(None)

    def make(self, data: bytes) -> Made:
        """`make_picture` in a process of its own; `decoder_crash` if that dies, hangs or balloons.

        Waits for a free one. StationError if none can be started.
        """
        child = self._idle.get()
        try:
            if child is None or child.process.poll() is not None:
                child = _Child(self._recipe)
            made = child.ask(data, self._timeout)
            if made.reason == "decoder_crash":
                child.end()
                child = None
            return made
        except TimeoutError:
            _end(child, grace=0.0)
            child = None
            return Made("decoder_crash", f"no answer after {self._timeout:g} s")
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            # A broken answer is a broken process: nothing that it says is taken.
            code = _end(child)
            child = None
            died = f"signal {-code}" if code < 0 else f"exit code {code}"
            said = "" if isinstance(error, OSError | EOFError) else f", {type(error).__name__}"
            return Made("decoder_crash", printable(f"the decoder died ({died}{said})"))
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End the processes, once they have done what they are at."""
        children = [self._idle.get() for _ in range(self.count)]
        for child in children:
            _end(child)
            self._idle.put(None)


def _end(child: _Child | None, grace: float = 1.0) -> int:
    return child.end(grace) if child is not None else 0
