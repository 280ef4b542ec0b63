"""Watches what this process does itself: a command that is quiet says what it is at, and ends.

Tasks on Dask are watched there (`engine/executors/watch`). What hangs in this process cannot be
stopped from within, so the process ends as if it were killed: what was committed is whole, its
lock ends with it, and so do the processes that it started.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.words.changes import Changes
from pipeline.words.doing import Doing, all_doing, doing
from pipeline.words.endings import INCOMPLETE, end_at_once, is_command
from pipeline.words.errors import GOES_ON

EVERY = 5.0
"""Seconds between two looks."""
QUIET = 45.0
"""Seconds without any progress after which the user is told what is waited for."""
AGAIN = 300.0
"""Seconds after which the user is told again."""


class _Watch:
    def __init__(self, say: Callable[[str], None], limit: float, left: Callable[[], str]) -> None:
        self.say, self.left = say, left
        self._limit = limit
        self._every = min(EVERY, limit / 5) if limit else EVERY
        self._looked, self._now = time.monotonic(), 0.0
        self._moved, self._told = 0.0, float("-inf")
        self._beats = Changes()
        self._is_over = False

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(self._every):
            self._look()

    def _look(self) -> None:
        # A stopped process, or a laptop that slept, looks late: that time does not count.
        self._now += min(time.monotonic() - self._looked, 2 * self._every)
        self._looked = time.monotonic()
        found = all_doing()
        beats = {self._key(one): one.beat for one in found}
        if self._beats.note(self._now, beats) or not found:
            self._moved = self._now
        stalled = [one for one in found if 0 < self._limit <= self._since(one)]
        if stalled and not self._is_over:
            self._end(stalled)
        elif found and self._now - self._moved >= QUIET and self._now - self._told >= AGAIN:
            self._told = self._now
            self.say(self._what_it_is_at(found))

    def _key(self, one: Doing) -> str:
        return f"{one.thread} {one.began} {one.what}"

    def _since(self, one: Doing) -> float:
        return self._now - self._beats.since(self._key(one))

    def _what_it_is_at(self, found: Sequence[Doing]) -> str:
        slowest = max(found, key=self._since)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        then = f"; the run ends after {self._limit:g} s (cluster.stall_timeout)"
        return (
            f"no progress for {self._since(slowest):.0f} s: at {slowest.what}, begun "
            f"{time.monotonic() - slowest.began:.0f} s ago{more}{then if self._limit else ''}"
        )

    def _end(self, stalled: Sequence[Doing]) -> None:
        self._is_over = True
        line = f"{stalled[0].what}: no progress for {self._limit:g} s (cluster.stall_timeout)"
        if not is_command():
            # The process belongs to a notebook or to another program.
            self.say(f"{line}; it cannot be stopped from within, so end this process yourself")
            return

        def say_left() -> str:
            for one in stalled:
                with contextlib.suppress(Exception):
                    one.given_up()
            left = ""
            with contextlib.suppress(Exception):
                left = self.left()
            return f"{line}, so the run ends{f'; left: {left}' if left else ''}; {GOES_ON}"

        end_at_once(INCOMPLETE, say_left)


_running: list[_Watch] = []


@contextlib.contextmanager
def watching(
    say: Callable[[str], None],
    limit: float,
    left: Callable[[], str] = lambda: "",
    what: str = "the run",
) -> Iterator[None]:
    """In the block: after 45 seconds without progress, and again every five minutes, `say` gets a
    line that names what this process is at. After `limit` seconds of it (0: never) a command ends
    with exit code 3 and a line with what is `left`; elsewhere `say` gets one.

    The calling thread is at `what`, until it says otherwise (`doing`). A block in another one has
    its own `say` and `left`, and the outer one's limit.
    """
    with doing(what, helped=True):
        if _running:
            outer = _running[0]
            before = outer.say, outer.left
            outer.say, outer.left = say, left
            try:
                yield
            finally:
                outer.say, outer.left = before
            return
        watch, ended = _Watch(say, limit, left), threading.Event()
        thread = threading.Thread(target=watch.run, args=(ended,), name="winnow-quiet", daemon=True)
        _running.append(watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            _running.clear()
