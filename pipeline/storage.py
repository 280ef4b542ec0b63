"""Files under one folder, local or on any fsspec store, written whole or not at all."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec


class Folder:
    """A folder named by a path or fsspec URL; names inside it are relative and use `/`."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = str(url).rstrip("/")
        # Other processes write here too: a store's remembered listings would hide their files.
        self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        protocols = self._fs.protocol
        self.is_local = "file" in ((protocols,) if isinstance(protocols, str) else protocols)
        if self.is_local:
            # A worker may have another working folder.
            self.url = self._root

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return (Folder, (self.url,))

    def sub(self, name: str) -> "Folder":
        return Folder(f"{self.url}/{name}")

    def path(self, name: str = "") -> str:
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Bytes, or None if there is no such file."""
        try:
            return int(self._fs.size(self.path(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(self.path(name)))

    def names(self, name: str = "") -> list[str]:
        """Names directly inside a folder, sorted; none if it is not there."""
        try:
            entries = self._fs.ls(self.path(name), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def files(self, name: str = "") -> list[str]:
        """Names of all files in a folder and below it, relative to the folder, sorted."""
        root = f"{self.path(name)}/"
        found = self._fs.find(self.path(name)) if self._fs.isdir(self.path(name)) else []
        return sorted(path.removeprefix(root) for path in found)

    def remove(self, name: str) -> None:
        """Remove a file or folder; nothing happens if it is not there."""
        if self.exists(name):
            self._fs.rm(self.path(name), recursive=True)

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: temporary name, fsync, rename; on an object store one PUT."""
        with self.create(name) as path:
            path.write_bytes(data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """A local path to fill; the file takes its place under `name` when the block ends well."""
        if not self.is_local:
            with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
                path = Path(scratch) / "file"
                yield path
                self._fs.makedirs(self.path(name).rsplit("/", 1)[0], exist_ok=True)
                self._fs.put_file(str(path), self.path(name))
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        path = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            yield path
            with path.open("rb+") as handle:
                os.fsync(handle.fileno())
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)

    def put(self, source: Path, name: str) -> None:
        """Move a finished local file into place under `name`."""
        with self.create(name) as path:
            shutil.move(source, path)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in place of what bears it; a store copies, then removes."""
        if self.is_local:
            Path(self.path(name)).replace(self.path(to))
            return
        self._fs.cp_file(self.path(name), self.path(to))
        self._fs.rm(self.path(name))

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A local path to read: the file itself, or a temporary copy from the store."""
        if self.is_local:
            yield Path(self.path(name))
            return
        with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
            path = Path(scratch) / "file"
            self._fs.get_file(self.path(name), str(path))
            yield path

    def sweep(self) -> int:
        """Remove what writers that died left behind (`*.tmp`), local folders only; how many."""
        if not self.is_local:
            return 0
        orphans = list(Path(self.path()).rglob("*.tmp"))
        for orphan in orphans:
            shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink()
        return len(orphans)
