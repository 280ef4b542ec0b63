"""What the threads of this process are at, in words, so that `quiet` can say it and watch it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.words.heartbeat import last_beat, latest_beat


@dataclass(frozen=True)
class Doing:
    """Something that a thread is at. It gets on whenever that thread calls `heartbeat.beat`, or
    with `helped` any thread."""

    what: str
    helped: bool
    given_up: Callable[[], None]
    """Called before the process is ended because it did not get on."""
    thread: int = field(default_factory=threading.get_ident)
    began: float = field(default_factory=time.monotonic)

    @property
    def beat(self) -> float:
        return max(self.began, latest_beat() if self.helped else last_beat(self.thread))


_doing: dict[int, list[Doing | None]] = {}


@contextlib.contextmanager
def doing(
    what: str, *, helped: bool = False, given_up: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """In the block this thread is at `what`, and at nothing that it was at before."""
    with _at(Doing(what, helped, given_up)):
        yield


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """In the block this thread only waits for others, which are watched themselves."""
    with _at(None):
        yield


@contextlib.contextmanager
def _at(one: Doing | None) -> Iterator[None]:
    mine = _doing.setdefault(threading.get_ident(), [])
    mine.append(one)
    try:
        yield
    finally:
        mine.pop()


def all_doing() -> list[Doing]:
    """What all threads are at, the one that began first before others."""
    newest = [one for mine in list(_doing.values()) for one in mine[-1:]]
    return sorted((one for one in newest if one is not None), key=lambda one: one.began)
