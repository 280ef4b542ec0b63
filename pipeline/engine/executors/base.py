"""The interface between the driver and the executor that runs its tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from pipeline.engine.tasks import Done
from pipeline.words.errors import StoppedError

Kind = Literal["net", "compute"]
"""What a task mostly waits for. An executor may keep workers apart for each."""

Handle = Hashable
"""A task in flight, as its executor knows it again; nothing else can be asked of it."""


@dataclass(frozen=True)
class Failed:
    """The answer of a task that raised."""

    error: BaseException
    trace: TracebackType | None


class Executor(ABC):
    """Runs tasks, one or many at a time. What a task makes does not depend on which executor it is.

    Both methods that reach for workers raise ClusterLostError if there are none any more.
    """

    workers: int
    """How many tasks may run at once."""

    @abstractmethod
    def submit(
        self, work: Callable[..., Done], *args: Any, kind: Kind = "compute", priority: int = 0
    ) -> Handle:
        """Let `work(*args)` be run once; of those that wait, the highest priority goes first."""

    @abstractmethod
    def next(self) -> tuple[Handle, Done | Failed]:
        """The next task that ended and its answer: waits for one, and gives each only once.

        A task must be in flight. Ctrl-C is no task's answer: KeyboardInterrupt passes through.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Let go of all that is in flight: a task of a run that ended must not write."""

    def fault(self, error: BaseException, every_shard: bool) -> StoppedError | None:
        """A task's error as the executor's own, which ends the run; None if it is the task's.

        `every_shard` says that the task works on all shards at once.
        """
        return None
