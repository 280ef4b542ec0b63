"""How processes of Python are started: with nothing imported from the working folder.

`python -m` and `python -c`, which multiprocessing uses, put the working folder at the head of the
module path, so that a stray `json.py` there would be executed. A new process reads the variable
before it imports anything; multiprocessing then hands it the path of the process that started it.
"""

import multiprocessing
import os
from multiprocessing.context import SpawnContext

SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def keep_working_folder_out() -> None:
    """From here on, no process that this one starts imports from its working folder."""
    os.environ.update(SAFE_PATH)


def spawning() -> SpawnContext:
    """For pools of processes. A forked copy of a process that runs threads (torch's) can hang."""
    keep_working_folder_out()
    return multiprocessing.get_context("spawn")
