"""The exceptions, one class for each way in which a command goes on or ends."""


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
    """A disk cannot be written to: it is full, over its quota, broken, or now read-only."""


class PlanMismatchError(RuntimeError):
    """A worker would make different parts than the driver planned: its files or packages differ.

    The command line prints it and ends with exit code 2.
    """
