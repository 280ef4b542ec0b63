"""The requests to an object store, as every fsspec file system has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.words.errors import LateError

SMALL = 16 << 20
"""Bytes up to which an object is read as a whole and remembered."""
ANY, NEW = "any", "new"
"""When a write is to be accepted: always, or if there is no such object. Any other text is the
version that it is to replace."""


@dataclass(frozen=True)
class Entry:
    """An object as a listing shows it; `version` is a text that is another for other bytes."""

    size: int
    version: str | None
    modified: datetime | None = None
    age: float | None = None
    """Seconds since then by the store's own clock, where it was asked for this object alone."""


class Store:
    """Requests; paths are those of the fsspec file system `fs`."""

    def __init__(self, fs: Any) -> None:
        self.fs = fs

    @property
    def conditional(self) -> bool:
        """Whether a write can depend on the version that it replaces."""
        return False

    def not_conditional(self) -> None:
        """From here on this store gets no conditional write from this process."""

    def exists(self, path: str) -> bool:
        """Whether there is such an object or folder."""
        return bool(self.fs.exists(path))

    def info(self, path: str) -> Entry | None:
        try:
            found = self.fs.info(path)
        except FileNotFoundError:
            return None
        return _entry(found) if found["type"] == "file" else None

    def page(self, prefix: str) -> dict[str, Entry] | None:
        """All that begins with the prefix, by path, if one request tells it; else None."""
        return None

    def children(self, folder: str) -> tuple[dict[str, Entry], list[str]]:
        """Files directly inside a folder, by name, and its folders."""
        try:
            found = self.fs.ls(folder, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}, []
        names = [one["name"].rstrip("/").rsplit("/", 1)[-1] for one in found]
        pairs = list(zip(names, found, strict=True))
        files = {name: _entry(one) for name, one in pairs if one["type"] == "file"}
        return files, [name for name, one in pairs if one["type"] != "file"]

    def find(self, prefix: str) -> dict[str, Entry]:
        """All that begins with the prefix, by path."""
        folder = prefix.rpartition("/")[0]
        found = self.fs.find(folder, detail=True) if self.fs.isdir(folder) else {}
        return {p: _entry(one) for p, one in found.items() if p.startswith(prefix)}

    def read(self, path: str) -> tuple[bytes, str | None]:
        """An object's bytes and version. FileNotFoundError."""
        return bytes(self.fs.cat_file(path)), None

    def download(self, path: str, target: Path) -> str | None:
        """An object's bytes into a file; its version. FileNotFoundError."""
        self.fs.get_file(path, str(target))
        return None

    def write(self, path: str, data: bytes | Path, condition: str) -> str | None:
        """Write an object; its version, where the store tells it. LateError if the condition does
        not hold. Here a version is looked at before, since fsspec knows of no condition but `NEW`.
        """
        if condition not in (ANY, NEW) and ((now := self.info(path)) is None or
                                            now.version != condition):  # fmt: skip
            raise late(path)
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        mode = "create" if condition == NEW else "overwrite"
        try:
            if isinstance(data, bytes):
                self.fs.pipe_file(path, data, mode=mode)
            else:
                self.fs.put_file(str(data), path, mode=mode)
        except FileExistsError as error:
            raise late(path) from error
        return None

    def remove(self, files: list[str], folders: list[str]) -> None:
        """Remove files, and folders of which all files are among them."""
        for folder in folders:
            self.fs.rm(folder, recursive=True)
        left = [file for file in files if not file.startswith(tuple(f"{f}/" for f in folders))]
        if left:
            self.fs.rm(left)

    def copy(self, path: str, to: str) -> None:
        self.fs.cp_file(path, to)


def _entry(found: Mapping[str, Any]) -> Entry:
    named = (found.get(key) for key in ("ETag", "etag", "generation", "md5Hash"))
    return Entry(int(found["size"] or 0), next((str(one) for one in named if one), None))


def late(path: str) -> LateError:
    return LateError(
        f"{path} was written by another process meanwhile; what this one made is left out"
    )
