"""What can go wrong, by what happens next."""


class InputError(Exception):
    """The job or its input is wrong: one line that names the place and the next step.

    The command line prints it and ends with exit code 2, before any work.
    """


class PartError(Exception):
    """A stage's output breaks the sample table's law (lost, repeated, reordered rows; columns).

    The part is not committed and its shard is quarantined; the job goes on and ends with exit
    code 3.
    """


class DamagedError(Exception):
    """A file that was once written whole was cut or changed from outside.

    The shard concerned is quarantined; else the command ends with this line and exit code 2.
    """


class StoppedError(RuntimeError):
    """What a run needs went away under it; what was committed stands, and nothing is amiss.

    The command line prints the line and ends with exit code 3.
    """


GOES_ON = "the same command goes on from here"
"""The next step after a StoppedError."""


class ClusterLostError(StoppedError):
    """The cluster went away, or could not be started."""


class StorageError(StoppedError):
    """A disk takes no more: it is full, over its quota, broken, or read-only by now."""


class PlanMismatchError(RuntimeError):
    """A worker would make other parts than the driver planned: its files or packages differ.

    The command line prints it and ends with exit code 2.
    """
