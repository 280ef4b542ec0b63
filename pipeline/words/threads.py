"""How many threads a process may use, so that all workers together use each core once."""

import os

VARIABLE = "WINNOW_THREADS"


def worker_threads() -> int:
    """The cluster's setting for this worker; in any other process, the cores it may use."""
    given = os.environ.get(VARIABLE, "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
