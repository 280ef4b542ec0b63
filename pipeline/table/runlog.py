"""`log.jsonl`: which tasks ran, and when.

Each line ends with the CRC-32 of what stands before it: `{"time": 1, …, "crc32": "0a1b2c3d"}`.
"""

import json
import os
import time
import zlib
from pathlib import Path
from typing import IO, Any

from pipeline.table.links import append_to
from pipeline.table.storage import Folder

NAME = "log.jsonl"
_SUM = ', "crc32": "'


def log_line(values: dict[str, Any]) -> str:
    """The values as one line, with its checksum."""
    line = json.dumps({k: v for k, v in values.items() if k != "crc32"}, default=str)[:-1]
    return f'{line}{_SUM}{zlib.crc32(line.encode()):08x}"}}'


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of a log that are as they were written.

    Earlier versions wrote no checksums: before the first line that has one, a line is whole if it
    is a JSON object.
    """
    found, summed = [], False
    for line in data.splitlines():
        body, mark, tail = line.rpartition(_SUM.encode())
        summed = summed or bool(mark)
        whole = tail == b'%08x"}' % zlib.crc32(body) if mark else not summed and _is_object(line)
        found += [line] if whole else []
    return found


def has_sums(data: bytes) -> bool:
    """Whether each line that is whole has a checksum."""
    return all(_SUM.encode() in line for line in whole_lines(data))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class Log:
    """One line per task: appended at once on a local disk, on an object store at the end of the
    run, under its lock, behind what earlier runs wrote."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def write(self, **values: Any) -> None:
        line = log_line({"time": round(time.time(), 3), **values})
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
