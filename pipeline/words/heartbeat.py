"""When the tasks of this process last got on: long loops call `beat`, and Dask's workers report it.

Without it, a task that hangs looks like one that takes long.
"""

import threading
import time
from collections.abc import Callable
from functools import partial

_last: dict[int, float] = {}


def beat(thread: int | None = None) -> None:
    """Note that the task in this thread, or in the one with this identifier, has got on."""
    _last[threading.get_ident() if thread is None else thread] = time.monotonic()


def beat_for_this_thread() -> Callable[[], None]:
    """A `beat` for the helper threads of the task that runs in the calling thread."""
    return partial(beat, threading.get_ident())


def last_beat(thread: int) -> float:
    """When a thread last called `beat`: seconds of `time.monotonic`; 0 for never."""
    return _last.get(thread, 0.0)
