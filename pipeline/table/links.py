"""Symbolic links in a run folder: none is written through, wherever it leads.

On a shared machine whoever may write there could let a run overwrite files elsewhere. The run
folder itself may be a link, or be below one: that is where the user wants it.
"""

import os
from pathlib import Path
from typing import IO

from pipeline.words.errors import DamagedError

_APPENDED = (".lock", "log.jsonl")
"""Files that are opened as they are; all others are replaced, and so would a link be."""


def check_links(run: Path) -> None:
    """DamagedError if a folder of the run is a link, or a file that is opened for writing."""
    for name in _APPENDED:
        refuse_links(run, run / name)
    for folder in (str(run), *_folders(run)):
        for entry in os.scandir(folder):
            if entry.is_symlink() and Path(entry.path).is_dir():
                raise DamagedError(_line(entry.path))


def refuse_links(base: Path, path: Path) -> None:
    """DamagedError if `path`, or a folder on the way there from `base`, is a link."""
    while path != base and base in path.parents:
        if path.is_symlink():
            raise DamagedError(_line(path))
        path = path.parent


def append_to(path: Path) -> IO[str]:
    """The file, opened for reading and appending; made if it is not there. OSError for a link."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "a+", encoding="utf-8")


def _folders(run: Path) -> list[str]:
    if not run.is_dir():
        return []
    return [entry.path for entry in os.scandir(run) if entry.is_dir(follow_symlinks=False)]


def _line(path: str | Path) -> str:
    return (
        f"{path} is a symbolic link, and nothing is written through one in a run folder; put the "
        "folder or file itself there, or give the job another `output`"
    )
