"""Files under one folder, local or on any fsspec store, each written completely or not at all."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec

from pipeline.table.disk import writing
from pipeline.table.links import refuse_links
from pipeline.table.objects import Objects
from pipeline.table.recent import recent
from pipeline.table.stores import SMALL
from pipeline.words.heartbeat import beat


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
        else:
            self.objects = Objects(self._fs, self._root)
        self._base = self._root

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return (Folder, (self.url,))

    def sub(self, name: str) -> "Folder":
        # fsspec would look at the URL once more, which takes longer than reading a small file; and
        # all folders of a run share one view of the store.
        folder = object.__new__(Folder)
        folder.__dict__.update(self.__dict__)
        folder.url = f"{self.url}/{name}".rstrip("/")
        folder._root = f"{self._root}/{name}".rstrip("/")
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
        return self.objects.exists(self.path(name))

    def size(self, name: str) -> int | None:
        """Bytes, or None if there is no such file."""
        try:
            if self.is_local:
                return Path(self.path(name)).stat().st_size
        except FileNotFoundError:
            return None
        entry = self.objects.entry(self.path(name))
        return None if entry is None else entry.size

    def version(self, name: str) -> str | None:
        """What the store calls this version of a file, if that is known without a request."""
        return None if self.is_local else self.objects.version(self.path(name))

    @contextlib.contextmanager
    def hold(self, *, copies: bool = True) -> Iterator[None]:
        """In the block the folders of an object store are listed once; see `Objects.hold`."""
        with contextlib.nullcontext() if self.is_local else self.objects.hold(copies=copies):
            yield

    def remember(self, path: Path, sha256: str) -> None:
        """On an object store: have what is in a local file read by its checksum, in this process,
        without a request."""
        if not self.is_local and path.stat().st_size <= SMALL:
            recent.add(("sha256", sha256), path.read_bytes())

    def cover(self, name: str) -> None:
        """This task alone writes to files whose names begin so; see `Objects.cover`."""
        if not self.is_local:
            self.objects.cover(self.path(name))

    def read(self, name: str) -> bytes:
        beat()
        if self.is_local:
            return Path(self.path(name)).read_bytes()
        return self.objects.read(self.path(name))

    def names(self, name: str = "") -> list[str]:
        """Names directly inside a folder, sorted; empty if the folder does not exist."""
        try:
            if self.is_local:
                return sorted(entry.name for entry in Path(self.path(name)).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return self.objects.names(self.path(name))

    def files(self, name: str = "") -> list[str]:
        """Names of all files in a folder and below it, relative to the folder, sorted."""
        root = f"{self.path(name)}/"
        if not self.is_local:
            found = list(self.objects.find(self.path(name)))
        else:
            found = self._fs.find(self.path(name)) if self._fs.isdir(self.path(name)) else []
        return sorted(path.removeprefix(root) for path in found)

    def remove(self, *names: str) -> None:
        """Remove files or folders that exist; on an object store as one."""
        if not self.is_local:
            self.objects.remove(*map(self.path, names))
            return
        for name in names:
            with self._writing(name):
                if Path(self.path(name)).is_symlink():
                    Path(self.path(name)).unlink()
                elif self.exists(name):
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
        beat()

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
                self.objects.write(self.path(name), path)
            return
        target = Path(self.path(name))
        refuse_links(Path(self._base), target.parent)
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
            self.objects.copy(self.path(name), self.path(to))
            self.objects.remove(self.path(name))

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A local path to read: the file itself, or a temporary copy from the store."""
        beat()
        if self.is_local:
            yield Path(self.path(name))
            return
        with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
            path = Path(scratch) / "file"
            self.objects.download(self.path(name), path)
            yield path

    def sweep(self) -> int:
        """Remove temporary files of killed writers (`*.tmp`), local folders only; their number."""
        if not self.is_local:
            return 0
        orphans = list(Path(self.path()).rglob("*.tmp"))
        for orphan in orphans:
            with self._writing(str(orphan.relative_to(self._root))):
                is_folder = orphan.is_dir() and not orphan.is_symlink()
                shutil.rmtree(orphan) if is_folder else orphan.unlink()
        return len(orphans)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a loss of power: the name is in the folder, not in the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
