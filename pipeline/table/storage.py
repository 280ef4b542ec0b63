"""Files under one folder, local or on any fsspec store, each written completely or not at all."""

import contextlib
import copy
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec

from pipeline.table.disk import writing


class Folder:
    """A folder named by a path or fsspec URL; names inside it are relative and use `/`.

    The most frequent calls do without fsspec on a local disk, where it takes several times as long.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = str(url).rstrip("/")
        # Other processes write here too, and fsspec's cached listings would not show their files.
        self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        protocols = self._fs.protocol
        self.is_local = "file" in ((protocols,) if isinstance(protocols, str) else protocols)
        if self.is_local:
            # Made absolute, because a worker may have another working folder.
            self.url = self._root

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return (Folder, (self.url,))

    def sub(self, name: str) -> "Folder":
        if not self.is_local:
            return Folder(f"{self.url}/{name}")
        # fsspec would look at the URL once more, which takes longer than reading a small file.
        folder = copy.copy(self)
        folder.url = folder._root = f"{self._root}/{name}".rstrip("/")
        return folder

    def path(self, name: str = "") -> str:
        return f"{self._root}/{name}" if name else self._root

    @property
    def local_path(self) -> str | None:
        """The folder's path on a local disk; None on an object store."""
        return self._root if self.is_local else None

    def exists(self, name: str) -> bool:
        if self.is_local:
            return Path(self.path(name)).exists()
        return bool(self._fs.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Bytes, or None if there is no such file."""
        try:
            if self.is_local:
                return Path(self.path(name)).stat().st_size
            return int(self._fs.size(self.path(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        if self.is_local:
            return Path(self.path(name)).read_bytes()
        return bytes(self._fs.cat_file(self.path(name)))

    def names(self, name: str = "") -> list[str]:
        """Names directly inside a folder, sorted; empty if the folder does not exist."""
        try:
            if self.is_local:
                return sorted(entry.name for entry in Path(self.path(name)).iterdir())
            entries = self._fs.ls(self.path(name), detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def files(self, name: str = "") -> list[str]:
        """Names of all files in a folder and below it, relative to the folder, sorted."""
        root = f"{self.path(name)}/"
        found = self._fs.find(self.path(name)) if self._fs.isdir(self.path(name)) else []
        return sorted(path.removeprefix(root) for path in found)

    def remove(self, name: str) -> None:
        """Remove a file or folder if it exists."""
        with self._writing(name):
            if self.exists(name):
                self._fs.rm(self.path(name), recursive=True)

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically: temporary name, fsync, rename; on an object store one PUT."""
        with self.create(name) as path:
            path.write_bytes(data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """A local path to write to; it is moved to `name` if the block ends without an error.

        StorageError, naming the file, if the disk is full or broken.
        """
        with self._writing(name), self._create(name) as path:
            yield path

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        with writing(self.local_path or "", self.path(name)):
            yield

    @contextlib.contextmanager
    def _create(self, name: str) -> Iterator[Path]:
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
            _sync_folder(target.parent)
        finally:
            path.unlink(missing_ok=True)

    def put(self, source: Path, name: str) -> None:
        """Move a finished local file into place under `name`.

        It gets the permissions of a new file: temporary files are closed to all other accounts.
        """
        with self.create(name) as path:
            path.touch()
            mode = path.stat().st_mode
            shutil.move(source, path)
            path.chmod(mode)

    def rename(self, name: str, to: str) -> None:
        """Rename a file, replacing any file of that name; an object store copies, then removes."""
        with self._writing(to):
            if self.is_local:
                Path(self.path(name)).replace(self.path(to))
                _sync_folder(Path(self.path(to)).parent)
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
        """Remove temporary files of killed writers (`*.tmp`), local folders only; their number."""
        if not self.is_local:
            return 0
        orphans = list(Path(self.path()).rglob("*.tmp"))
        for orphan in orphans:
            with self._writing(str(orphan.relative_to(self._root))):
                shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink()
        return len(orphans)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a loss of power: the name is in the folder, not in the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
