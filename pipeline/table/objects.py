"""An object store as one command or task sees it: few requests, and no write over a later writer's.

A request costs money and a round trip, so nothing is asked that a listing or an earlier answer
tells. What was listed is trusted in a block (`hold`), or below a prefix that only this task writes
to (`cover`). Where a listing tells a file's version, its bytes are read once by a process.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.table.recent import recent
from pipeline.table.stores import ANY, NEW, SMALL, Entry, Store

if TYPE_CHECKING:
    from pipeline.table.copies import Copies


class Objects:
    """One view of a store, for a run folder at `root`; paths are those of its file system."""

    def __init__(self, fs: Any, root: str) -> None:
        self.store, self.root = store_of(fs), root
        self.guard: Callable[[], None] = lambda: None
        """Called before each write: raises if this process may not write any more."""
        self._seen: dict[str, Entry] = {}
        self._deep: set[str] = set()
        """Prefixes below which all is in `_seen`."""
        self._covered: set[str] = set()
        """Those of them that are known for good, and not for the block of a `hold` alone."""
        self._flat: dict[str, list[str]] = {}
        """Folders of which all direct files are in `_seen`, with their names and subfolders."""
        self._held = 0
        self._is_large = False
        self._lock = threading.RLock()
        self._uses_copies = True
        self._copies: Copies | None = None

    # What is known without a request.

    @contextlib.contextmanager
    def hold(self, *, copies: bool = True) -> Iterator[None]:
        """In the block, nobody else's writes are looked for: each folder is listed once.

        Without `copies`, every file that is asked for is read from the store itself.
        """
        before = self._uses_copies
        self._held += 1
        self._uses_copies = copies and before
        try:
            yield
        finally:
            self._held -= 1
            self._uses_copies = before
            if not self._held:
                self._deep, self._flat, self._copies = set(self._covered), {}, None
                self._seen = {path: one for path, one in self._seen.items() if self._is_deep(path)}

    def cover(self, prefix: str) -> None:
        """List what begins with the prefix, of which this task is the only writer.

        From here on it is known without a request, and a write there is refused (LateError) if
        another writer came first.
        """
        self._list(prefix)
        self._covered.add(prefix)

    def _list(self, prefix: str) -> None:
        self._see(self.store.find(prefix))
        self._deep.add(prefix)

    def _see(self, found: Mapping[str, Entry]) -> None:
        """Have what was listed known; of what is covered the first listing counts."""
        covered = tuple(self._covered)
        self._seen.update({p: one for p, one in found.items() if not p.startswith(covered)})

    def _is_known(self, path: str) -> bool:
        return _parent(path) in self._flat or self._is_deep(path)

    def _is_deep(self, path: str) -> bool:
        """Whether all that begins with the path is known, if it ends with a slash; else whether
        the path itself is."""
        return any(path.startswith(prefix) for prefix in self._deep)

    def _look(self, folder: str) -> None:
        """Have a folder listed, within `hold`: with the whole run if a page of names holds it."""
        with self._lock:  # threads that ask at once list it once
            if folder in self._flat or self._is_deep(f"{folder}/"):
                return
            if not self._is_large and f"{folder}/".startswith(f"{self.root}/"):
                if (found := self.store.page(f"{self.root}/")) is not None:
                    self._see(found)
                    self._deep.add(f"{self.root}/")
                    return
                self._is_large = True
            files, folders = self.store.children(folder)
            self._see({f"{folder}/{name}": entry for name, entry in files.items()})
            self._flat[folder] = sorted({*files, *folders})

    def entry(self, path: str) -> Entry | None:
        """An object's size and version; None if there is none."""
        if self._held:
            self._look(_parent(path))
        return self._seen.get(path) if self._is_known(path) else self.store.info(path)

    def version(self, path: str) -> str | None:
        """An object's version, if that is known without a request."""
        if self._held:
            self._look(_parent(path))
        known = self._seen.get(path) if self._is_known(path) else None
        return None if known is None else known.version

    def exists(self, path: str) -> bool:
        """Whether there is such an object or folder."""
        if not (self._held or self._is_known(path)):
            return self.store.exists(path)
        return self.entry(path) is not None or bool(self.names(path))

    def names(self, folder: str) -> list[str]:
        """Names of files and folders directly inside a folder, sorted."""
        if self._held:
            self._look(folder)
        if folder in self._flat:
            return self._flat[folder]
        below = f"{folder}/"
        if self._is_deep(below):
            inside = (path[len(below) :] for path in list(self._seen) if path.startswith(below))
            return sorted({path.partition("/")[0] for path in inside})
        files, folders = self.store.children(folder)
        return sorted({*files, *folders})

    def find(self, folder: str) -> dict[str, Entry]:
        """All objects in a folder and below it, by path."""
        below = f"{folder}/"
        if self._held:
            self._look(folder)
            if not self._is_deep(below):
                self._list(below)
        if self._is_deep(below):
            return {path: one for path, one in self._seen.items() if path.startswith(below)}
        return self.store.find(below)

    # Reading.

    def read(self, path: str) -> bytes:
        """An object's bytes. FileNotFoundError."""
        if (data := self._remembered(path)) is not None:
            return data
        data, version = self.store.read(path)
        if version is not None:
            recent.add(("version", path, version), data)
        return data

    def download(self, path: str, target: Path) -> None:
        """An object's bytes into a local file. FileNotFoundError."""
        if (data := self._remembered(path)) is not None:
            target.write_bytes(data)
            return
        version = self.store.download(path, target)
        if version is not None and target.stat().st_size <= SMALL:
            recent.add(("version", path, version), target.read_bytes())

    def _remembered(self, path: str) -> bytes | None:
        if not (self._held or self._is_known(path)):
            return None
        if (known := self.entry(path)) is None:
            raise FileNotFoundError(path)
        if known.version is None or not self._uses_copies:
            return None
        if (data := recent.get(("version", path, known.version))) is None and self._held:
            data = self.copies.get(path, known.version)
        return data

    @property
    def copies(self) -> "Copies":
        """The copies of small files, as they are while the listing is held."""
        from pipeline.table.copies import Copies

        if self._copies is None:
            self._copies = Copies(self)
        return self._copies

    # Writing.

    def write(self, path: str, data: bytes | Path) -> str | None:
        """Write an object; its version, where the store tells it. LateError, see `cover`."""
        self.guard()
        condition = ANY
        if self._is_known(path):
            known = self._seen.get(path)
            condition = NEW if known is None else known.version or ANY
        version = self.store.write(path, data, condition)
        self._note(path, data, version)
        return version

    def _note(self, path: str, data: bytes | Path, version: str | None) -> None:
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        if self._is_known(path):
            self._set(path, Entry(size, version, datetime.now(UTC)))
        if version is not None and size <= SMALL:
            held = data if isinstance(data, bytes) else data.read_bytes()
            recent.add(("version", path, version), held)

    def _set(self, path: str, entry: Entry | None) -> None:
        """Have a change of this process known."""
        if entry is None:
            self._seen.pop(path, None)
            self._name(path, False)
            return
        self._seen[path] = entry
        while len(path) > len(self.root):
            self._name(path, True)
            path = _parent(path)

    def _name(self, path: str, is_there: bool) -> None:
        """Add a name to those of its folder, or take it away, if they are known."""
        folder, _, name = path.rpartition("/")
        if (names := self._flat.get(folder)) is not None and (name in names) != is_there:
            self._flat[folder] = sorted({*names, name} if is_there else set(names) - {name})

    def remove(self, *paths: str) -> None:
        """Remove files and folders that exist."""
        self.guard()
        files: set[str] = set()
        folders = []
        for path in paths:
            if self._held or self._is_known(path):
                if self.entry(path) is not None:
                    files.add(path)
                    continue
                if self._held and path.rpartition("/")[2] not in self.names(_parent(path)):
                    continue
                found = self.find(path)
            else:
                found = self.store.find(path)
            inside = {one for one in found if one.startswith(f"{path}/")}
            files |= inside | ({path} & found.keys())
            folders += [path] if inside else []
        self.store.remove(sorted(files), folders)
        for path in files:
            self._set(path, None)
        for path in folders:
            self._name(path, False)

    def copy(self, path: str, to: str) -> None:
        self.guard()
        self.store.copy(path, to)
        if self._is_known(to):
            self._set(to, self.store.info(to))


def store_of(fs: Any) -> Store:
    """The requests that fit a file system."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    if "s3" in protocols:
        from pipeline.table.s3 import S3

        return S3(fs)
    return Store(fs)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
