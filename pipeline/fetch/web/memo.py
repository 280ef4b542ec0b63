"""A cache with expiry: one thread makes a value, others wait for it; least recently used go."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pipeline.fetch.web.sockets import clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """At most `size` values; each is kept for as long as its maker says."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asking: dict[K, threading.Event] = {}

    def get(self, key: K, make: Callable[[], tuple[V, float]]) -> V:
        """The kept value, or that of `make`, which also says for how many seconds to keep it.

        What `make` raises passes through and is not kept: the next thread calls `make` again.
        Waiting for another thread's value does not count against this thread's deadline.
        """
        while True:
            with self._lock:
                kept = self._kept.get(key)
                if kept is not None and kept[0] > time.monotonic():
                    self._kept.move_to_end(key)
                    return kept[1]
                other = self._asking.get(key)
                if other is None:
                    mine = self._asking[key] = threading.Event()
                    break
            with clock.stopped():
                other.wait()
        try:
            value, seconds = make()
            with self._lock:
                self._kept.pop(key, None)
                if seconds > 0:
                    self._kept[key] = (time.monotonic() + seconds, value)
                while len(self._kept) > self._size:
                    self._kept.popitem(last=False)
            return value
        finally:
            with self._lock:
                del self._asking[key]
            mine.set()
