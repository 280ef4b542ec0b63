"""How many threads a process may use, so that all workers together match the cores."""

import os

VARIABLE = "WINNOW_THREADS"


def worker_threads() -> int:
    """This worker's share, as the cluster set it; in any other process, the cores it may use."""
    given = os.environ.get(VARIABLE, "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
