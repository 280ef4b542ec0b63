"""Folders for a task's temporary files: beside the run, or where the job says; none is left over.

A killed process cannot remove its folder. So each folder is locked while it is in use, and a
process removes the unlocked ones of a place before it makes its first there.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipeline.table.disk import writing
from pipeline.table.recent import shared
from pipeline.table.storage import Folder
from pipeline.words.interrupts import held_signals

_PREFIX, _SUFFIX = "winnow-", ".tmp"


@contextlib.contextmanager
def scratch(run: Folder, place: str | None = None) -> Iterator[Path]:
    """A new local folder, removed after the block.

    It is in `place` (the job's `cluster.scratch`), else in the run folder, where there is space for
    what the run makes, and from where a file is moved into place without being copied; on an object
    store in the folder for temporary files (TMPDIR). StorageError for a place that cannot be
    written to.
    """
    if place is None:
        place = run.path() if run.is_local else tempfile.gettempdir()
    with writing(place), _made(Path(place)) as folder:
        yield folder


@contextlib.contextmanager
def sharing(run: Folder, place: str | None = None) -> Iterator[None]:
    """In the block, the processes of a run on an object store that are on this machine share what
    they read and write, in such a folder."""
    if run.is_local:
        yield
        return
    with scratch(run, place) as folder, shared(folder):
        yield


@contextlib.contextmanager
def _made(place: Path) -> Iterator[Path]:
    made: tuple[Path, int] | None = None
    try:
        with held_signals():  # one in here would leave the folder behind
            made = _locked_folder(place)
        yield made[0]
    finally:
        with held_signals():
            if made is not None:
                shutil.rmtree(made[0], ignore_errors=True)
                os.close(made[1])


def _locked_folder(place: Path) -> tuple[Path, int]:
    place.mkdir(parents=True, exist_ok=True)
    remove_unused(place)
    while True:
        folder = place / f"{_PREFIX}{uuid.uuid4().hex[:12]}{_SUFFIX}"
        folder.mkdir(mode=0o700)
        # Until it is locked, another process may take it for unused and remove it.
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():
            return folder, handle
        os.close(handle)


@cache
def remove_unused(place: Path) -> int:
    """Remove the folders that killed processes left here; their number. Once per process."""
    removed = 0
    for folder in place.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed += 1
            finally:
                os.close(handle)
    return removed
