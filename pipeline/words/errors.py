"""The exceptions, one class for each way in which a command goes on or ends."""

from pipeline.words.sizes import size


class InputError(Exception):
    """The job or its input is wrong: one line that names the place and the next step.

    The command line prints it and ends with exit code 2, before any work.
    """


class PartError(Exception):
    """A stage's output does not fit its shard (lost, repeated or reordered rows; wrong columns).

    The part is not committed and its shard is quarantined; the job goes on and ends with exit
    code 3.
    """


class DamagedError(Exception):
    """A file of the run was truncated or changed by something other than winnow.

    Its shard is quarantined; without one the command ends with this line and exit code 2.
    """


class StalledError(Exception):
    """A task made no progress for `cluster.stall_timeout`, twice, and was given up.

    If the rows at fault are not found, its shard is quarantined; the job goes on and ends with exit
    code 3.
    """


class DiedError(Exception):
    """The process of a task died, or could get no more memory, also when it ran by itself.

    `cause` says of what, in words: memory, with its peak and limit, a signal or an exit code. The
    task's shard is quarantined; the job goes on and ends with exit code 3.
    """

    def __init__(self, cause: str, of_memory: bool) -> None:
        super().__init__(cause, of_memory)
        self.cause, self.of_memory = cause, of_memory

    def __str__(self) -> str:
        return f"died of {self.cause}"


class StoppedError(RuntimeError):
    """A cluster or disk that the run needs failed; what was committed is kept and is correct.

    The command line prints the message and ends with exit code 3.
    """


GOES_ON = "the same command goes on from here"
"""The next step after a StoppedError."""


class ClusterLostError(StoppedError):
    """The cluster's scheduler or workers are gone, or could not be started."""


class StorageError(StoppedError):
    """A disk cannot be written to: it is full, over its quota, broken, closed, or now read-only.

    `free` and `needed` are bytes, if known: the free space of the folder `where`, and about what
    is still to be written there.
    """

    def __init__(
        self,
        problem: str,
        why: str,
        remedy: str,
        free: int | None = None,
        where: str = "",
        needed: int | None = None,
    ) -> None:
        super().__init__(problem, why, remedy, free, where, needed)  # as it is pickled
        self.problem, self.why, self.remedy = problem, why, remedy
        self.free, self.where, self.needed = free, where, needed

    def __str__(self) -> str:
        where = "there" if self.problem.startswith(self.where) else f"in {self.where}"
        space = f"; {size(self.free)} free {where}" if self.free is not None else ""
        if self.needed:
            space += f"; about {size(self.needed)} needed for what is left"
        return f"{self.problem}: {self.why}{space}; {self.remedy}, and {GOES_ON}"


class LateError(StoppedError):
    """Another process has written a file since this one looked: this one is late, and stops.

    Nothing was overwritten. In a task its shard is quarantined; the next run finds what is there.
    """


class PlanMismatchError(RuntimeError):
    """A worker would make different parts than the driver planned: its files or packages differ.

    The command line prints it and ends with exit code 2.
    """
