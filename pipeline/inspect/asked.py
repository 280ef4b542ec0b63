"""Reads a run that another command may change at the same time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.engine.damage import watched
from pipeline.inspect.status import lock_owner
from pipeline.table.disk import mark_of
from pipeline.table.run import Run
from pipeline.words.errors import InputError, PlanMismatchError, StoppedError

T = TypeVar("T")
_TRIES = 4
_PAUSE = 0.5
"""Seconds before the second try; one more before each further one."""
_TOLD_BY = ("state.json", "shards/index.json", "tombstones.jsonl", "resolved.json")
"""Files one of which every command replaces that changes a run."""


def asked(run_folder: str, ask: Callable[[Run], T]) -> T:
    """What `ask` finds in a run, whose errors are those of `watched`.

    Readers take no lock, so a file may be replaced between two of their looks. If that happens
    they ask once more; StoppedError if it happens again and again.
    """
    for attempt in range(_TRIES):
        run = Run(run_folder)
        before: list[object] = []
        try:
            # An object store is listed once, and again for the next try.
            with run.folder.hold():
                run.check_there(run_folder)
                before = _moment(run)
                with watched(run):
                    return ask(run)
        except (InputError, PlanMismatchError, StoppedError, BrokenPipeError):
            raise
        except Exception as error:
            owner = lock_owner(run)
            if owner is None and (not before or _moment(run) == before):
                raise
            if attempt == _TRIES - 1:
                who = f"process {owner}" if owner else "another process"
                raise StoppedError(
                    f"{run.folder.url} is being changed by {who}, and could not be read meanwhile "
                    f"({error}); ask again when that has ended"
                ) from error
            time.sleep(_PAUSE + attempt)
    raise AssertionError("the last try returns or raises")


def _moment(run: Run) -> list[object]:
    """What differs after a change. Of files on a disk no byte is read: the index may be large."""
    found: list[object] = []
    for name in _TOLD_BY:
        try:
            path = Path(run.folder.path(name))
            found.append(mark_of(path) if run.folder.is_local else run.folder.read(name))
        except FileNotFoundError:
            found.append(None)
    return found
