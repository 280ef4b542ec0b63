"""`log.jsonl`: which tasks ran, and when."""

import json
import time
from pathlib import Path
from typing import Any

from pipeline.table.links import append_to
from pipeline.table.storage import Folder


class Log:
    """One line per task: appended at once on a local disk, else written at the end of the run."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def write(self, **values: Any) -> None:
        line = json.dumps({"time": round(time.time(), 3), **values}, default=str)
        if self._folder.is_local:
            with append_to(Path(self._folder.path("log.jsonl"))) as handle:
                handle.write(line + "\n")
        else:
            self._lines.append(line)

    def close(self) -> None:
        if self._lines:
            self._folder.write("log.jsonl", "\n".join(self._lines).encode())
