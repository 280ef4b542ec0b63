"""A quiet end of a process: importing this closes its stderr after all other exit handlers.

With torch loaded, DuckDB 2.0's binding (nanobind) prints a page of leak warnings while the
interpreter is torn down. By then all work is done and everything worth saying has been said. Dask
imports it first in local workers (`preload`), the command line in its own process; handlers run
last-in first-out, so what is registered first runs last.
"""

import atexit
import os


def _close_stderr() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_close_stderr)
