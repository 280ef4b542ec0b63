"""Copies of a run's small JSON files, many in one object: a reader sends few requests.

A line of `records/<number>.jsonl.gz` holds a path in the run folder, the version of the file as the
store has it, and its text. A copy counts only while the store lists the file with this very
version, so that an outdated, missing or broken copy costs a request and nothing else.
"""

import gzip
import json
import threading
import zlib
from collections.abc import Iterable

from pipeline.table.objects import Objects
from pipeline.table.storage import Folder

FOLDER = "records"
SHARDS = 256
"""Shards whose records are copied into one object."""
LARGEST = 1 << 16
"""Bytes of the largest file that is copied."""


def copy_records(run: Folder, folders: Iterable[str]) -> None:
    """On an object store: copy the JSON files in these folders of a run."""
    if not run.is_local:
        with run.hold():
            run.objects.copies.bring_up_to_date(folders)


class Copies:
    """The copies of a run, read when they are first asked for."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._read: dict[str, dict[str, tuple[str, str]]] = {}
        self._lock = threading.Lock()

    def get(self, path: str, version: str) -> bytes | None:
        """The bytes of this version of a file, if there is a copy."""
        name = path.removeprefix(f"{self._objects.root}/")
        if not name.endswith(".json") or name == path:
            return None
        with self._lock:
            found = self._of(_place(name)).get(name)
        return found[1].encode() if found is not None and found[0] == version else None

    def _of(self, place: str) -> dict[str, tuple[str, str]]:
        if place not in self._read:
            try:
                data = self._objects.read(f"{self._objects.root}/{place}")
                lines = gzip.decompress(data).decode().splitlines()
                self._read[place] = {one[0]: (one[1], one[2]) for one in map(json.loads, lines)}
            except (OSError, EOFError, zlib.error, ValueError, IndexError, TypeError):
                self._read[place] = {}
        return self._read[place]

    def bring_up_to_date(self, folders: Iterable[str]) -> None:
        """Copy the JSON files directly in these folders, within `Objects.hold`; those of shards
        beside each other. Only what changed is written."""
        wanted: dict[str, dict[str, str]] = {}
        for folder in dict.fromkeys(folders):
            for name in self._objects.names(f"{self._objects.root}/{folder}"):
                file = f"{folder}/{name}"
                found = self._objects.entry(f"{self._objects.root}/{file}")
                if file.endswith(".json") and found and found.version and found.size <= LARGEST:
                    wanted.setdefault(_place(file), {})[file] = found.version
        for place, versions in wanted.items():
            held = {name: version for name, (version, _) in self._of(place).items()}
            if held == versions:
                continue
            lines = [
                json.dumps([name, version, self._objects.read(self._full(name)).decode()])
                for name, version in sorted(versions.items())
            ]
            data = gzip.compress("\n".join(lines).encode(), 6, mtime=0)
            self._objects.write(self._full(place), data)

    def _full(self, name: str) -> str:
        return f"{self._objects.root}/{name}"


def _place(name: str) -> str:
    """The object that holds a file's copy."""
    number = name.rpartition("/")[2].partition(".")[0]
    group = int(number) // SHARDS if number.isdecimal() else 0
    return f"{FOLDER}/{group:05d}.jsonl.gz"
