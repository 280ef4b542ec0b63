"""When the tasks of this process last got on: long loops call `beat`, and who watches them looks.

Without it, a task that hangs looks like one that takes long. Dask's workers report it to the driver
(`engine/executors/pulse`); of the driver's own work `words/quiet` looks at it.
"""

import threading
import time
from collections.abc import Callable
from functools import partial

_last: dict[int, float] = {}
_latest = [0.0]


def beat(thread: int | None = None) -> None:
    """Note that the task in this thread, or in the one with this identifier, has got on."""
    now = time.monotonic()
    _last[threading.get_ident() if thread is None else thread] = now
    _latest[0] = now


def beat_for_this_thread() -> Callable[[], None]:
    """A `beat` for the helper threads of the task that runs in the calling thread."""
    return partial(beat, threading.get_ident())


def last_beat(thread: int) -> float:
    """When a thread last called `beat`: seconds of `time.monotonic`; 0 for never."""
    return _last.get(thread, 0.0)


def latest_beat() -> float:
    """When any thread of this process last called `beat`; 0 for never."""
    return _latest[0]
