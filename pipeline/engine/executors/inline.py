"""Tasks run in this process, without Dask: for tests, notebooks, small jobs, light stages.

Models and decoding use the cores of this process (`pipeline.words.threads`), so such tasks run one
at a time. The tasks of light stages use one core each and may run in threads side by side.
"""

import heapq
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Any

from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.tasks import TimedResult
from pipeline.words.processes import keep_working_folder_out


class InlineExecutor(Executor):
    """Starts tasks when a result is asked for, at most `workers` at once."""

    is_own_process = True

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._waiting: list[tuple[int, int, Callable[[], TimedResult]]] = []
        self._numbers = count()
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._running: dict[Future[TimedResult | Failed], int] = {}
        keep_working_folder_out()

    def submit(
        self,
        work: Callable[..., TimedResult],
        *args: Any,
        kind: Kind = "compute",
        priority: int = 0,
        name: str = "a task",
    ) -> Handle:
        number = next(self._numbers)
        heapq.heappush(self._waiting, (-priority, number, lambda: work(*args)))
        return number

    def next(self) -> tuple[Handle, TimedResult | Failed]:
        if self._pool is None:
            _, number, work = heapq.heappop(self._waiting)
            return number, _answer(work)
        while self._waiting and len(self._running) < self.workers:
            _, number, work = heapq.heappop(self._waiting)
            self._running[self._pool.submit(_answer, work)] = number
        ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = ended.pop()
        return self._running.pop(future), future.result()

    def cancel(self) -> None:
        self._waiting.clear()
        wait(self._running)
        self._running.clear()


def _answer(work: Callable[[], TimedResult]) -> TimedResult | Failed:
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as Dask does: a panic in Rust is not an Exception
        return Failed(error, error.__traceback__)
