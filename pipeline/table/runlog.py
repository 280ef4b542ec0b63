"""`log.jsonl`: which tasks ran, and when."""

import json
import os
import time
from pathlib import Path
from typing import IO, Any

from pipeline.table.links import append_to
from pipeline.table.storage import Folder

NAME = "log.jsonl"


class Log:
    """One line per task: appended at once on a local disk, on an object store at the end of the
    run, under its lock, behind what earlier runs wrote."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def write(self, **values: Any) -> None:
        line = json.dumps({"time": round(time.time(), 3), **values}, default=str)
        if self._folder.is_local:
            with append_to(Path(self._folder.path(NAME))) as handle:
                handle.write(f"{_break(handle)}{line}\n")
        else:
            self._lines.append(line)

    def close(self) -> None:
        if not self._lines:
            return
        try:
            before = self._folder.read(NAME)
        except FileNotFoundError:
            before = b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        new = "".join(f"{line}\n" for line in self._lines)
        self._folder.write(NAME, before + new.encode())
        self._lines = []


def _break(handle: IO[str]) -> str:
    """A line break if the last line was cut, by a killed driver or from outside."""
    end = os.fstat(handle.fileno()).st_size
    return "\n" if end and os.pread(handle.fileno(), 1, end - 1) != b"\n" else ""
