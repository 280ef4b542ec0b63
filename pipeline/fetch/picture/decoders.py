"""A few decoding processes: whatever a picture does to its decoder, it does to one of them."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
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
    """One process and the socket to it. It starts while others work: `ask` waits for it."""

    def __init__(self, recipe: Recipe) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        command = [sys.executable, "-m", "pipeline.fetch.picture.child"]
        here = str(Path(pipeline.__file__).parents[1])
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._socket, self._ready = ours, False
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), recipe.encode()],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def wait(self) -> None:
        """Until it is there. StationError if it does not come up."""
        if self._ready:
            return
        self._socket.settimeout(_START)
        with contextlib.suppress(OSError, EOFError):
            self._ready = bytes(read_frame(self._socket)) == READY
        if not self._ready:
            self.end()
            raise StationError("a decoding process did not start; it says why above")

    def ask(self, data: bytes, timeout: float) -> Made:
        """What becomes of the bytes. EOFError or OSError if the process dies; TimeoutError."""
        self._socket.settimeout(timeout)
        self._socket.sendall(len(data).to_bytes(4, "big"))
        self._socket.sendall(data)
        lengths = read_exactly(self._socket, 8)
        head, rest = (int.from_bytes(lengths[at : at + 4], "big") for at in (0, 4))
        if head + rest > _GREATEST:
            raise ValueError("an answer too large")
        answer = read_exactly(self._socket, head + rest)
        values = json.loads(bytes(answer[:head]))
        at = head
        for name, size in zip(BLOBS, values.pop("sizes"), strict=True):
            values[name] = bytes(answer[at : at + size])
            at += size
        made = Made(**values)
        if at != len(answer) or not (made.reason is None or made.reason in FETCH):
            raise ValueError("an answer that makes no sense")
        return made

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

    def start(self, most: int) -> None:
        """Start as many processes as so many pictures can use, and do not wait for them."""
        started: list[_Child] = []
        for _ in range(min(most, self.count)):
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                break
            started.append(child or _Child(self._recipe))
        for child in started:
            self._idle.put(child)

    def make(self, data: bytes) -> Made:
        """`make_picture` in a process of its own; `decoder_crash` if that dies, hangs or balloons.

        Waits for a free one. StationError if none can be started.
        """
        child = self._idle.get()
        try:
            if child is None or child.process.poll() is not None:
                child = _Child(self._recipe)
            child.wait()
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
