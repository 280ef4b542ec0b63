"""Starts Python processes so that they import nothing from the working folder.

`python -m` and `python -c`, which multiprocessing uses, put the working folder at the head of the
module path, so that a stray `json.py` there would be executed. A new process reads the variable
before it imports anything; multiprocessing then gives it the path of the process that started it.
"""

import multiprocessing
import os
from multiprocessing.context import SpawnContext

SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def keep_working_folder_out() -> None:
    """From now on, processes that this one starts import nothing from their working folder."""
    os.environ.update(SAFE_PATH)


def spawning() -> SpawnContext:
    """The context for pools of processes: spawned, as forking a process with threads can hang."""
    keep_working_folder_out()
    return multiprocessing.get_context("spawn")
