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


class ClusterLostError(RuntimeError):
    """The cluster went away under a run; what was committed stands."""


class PlanMismatchError(RuntimeError):
    """A worker would make other parts than the driver planned: its files or packages differ."""
