"""Tasks run in this very process, one at a time, without Dask: for tests, notebooks, small jobs.

Models and decoding use the cores of this process (`pipeline.words.threads`).
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.tasks import Done
from pipeline.words.processes import keep_working_folder_out


class InlineExecutor(Executor):
    """Runs a task when its result is asked for, so only one task is active at a time."""

    workers = 1

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Callable[[], Done]]] = []
        self._numbers = count()
        keep_working_folder_out()

    def submit(
        self, work: Callable[..., Done], *args: Any, kind: Kind = "compute", priority: int = 0
    ) -> Handle:
        number = next(self._numbers)
        heapq.heappush(self._waiting, (-priority, number, lambda: work(*args)))
        return number

    def next(self) -> tuple[Handle, Done | Failed]:
        _, number, work = heapq.heappop(self._waiting)
        try:
            return number, work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # as Dask does: a panic in Rust is no Exception
            return number, Failed(error, error.__traceback__)

    def cancel(self) -> None:
        self._waiting.clear()
