"""The interface between the driver and the executor that runs its tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import StoppedError

Kind = Literal["net", "compute"]
"""What a task mostly uses: network or CPU. An executor may have separate workers for each."""

Handle = Hashable
"""Identifies a submitted task; it has no other use."""


@dataclass(frozen=True)
class Failed:
    """The result of a task that raised an exception."""

    error: BaseException
    trace: TracebackType | None


class Executor(ABC):
    """Runs tasks, one or many at a time. The executor has no influence on a task's result.

    `submit` and `next` raise ClusterLostError if there are no workers any more.
    """

    workers: int
    """How many tasks may run at once; on a cluster this changes as workers come and go."""
    dashboard: str | None = None
    """The address of a page that shows the tasks, if there is one."""
    is_own_process: bool = False
    """Whether tasks run in the driver's process, which one of them may end."""

    @abstractmethod
    def submit(
        self,
        work: Callable[..., TimedResult],
        *args: Any,
        kind: Kind = "compute",
        priority: int = 0,
        name: str = "a task",
    ) -> Handle:
        """Queue `work(*args)` to be run once; tasks of higher priority are run first.

        `name` is for messages. A task that no longer gets on may be ended and run again.
        """

    @abstractmethod
    def next(self) -> tuple[Handle, TimedResult | Failed]:
        """Wait for the next task to end; its handle and result. Each is returned once.

        At least one task must be pending. One that stalled twice has failed with StalledError.
        KeyboardInterrupt passes through.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Cancel all pending tasks: after the end of a run none of its tasks may write."""

    def has_died(self, error: BaseException) -> bool:
        """Whether the error says that the process died that was to run the task: by the task's
        fault, or by that of another one that it ran or was to run."""
        return False

    def fault(self, error: BaseException, every_shard: bool) -> StoppedError | None:
        """The StoppedError for an error that the executor caused; None if the task caused it.

        `every_shard` says that the task works on all shards at once.
        """
        return None
