"""Importing this module closes stderr at the exit of the process, after all other exit handlers.

With torch loaded, DuckDB 2.0's binding (nanobind) prints a page of leak warnings while the
interpreter shuts down. By then all work is done and all messages are written. It is imported first
in the command line's process and in local workers (`worker_process`); exit handlers run last-in
first-out, so the one registered first runs last.
"""

import atexit
import os


def _close_stderr() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_close_stderr)
