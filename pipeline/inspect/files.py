"""Gives DuckDB read-only access to a run's tables, and to no other files.

DuckDB accepts a COPY inside a WITH clause, and can write to any path that it may read. So it reads
through our own file system, which refuses to write, both on disks and on object stores.
"""

import threading
from datetime import datetime
from typing import Any

import duckdb
import fsspec
from fsspec.spec import AbstractFileSystem

from pipeline.engine.damage import find_damage
from pipeline.table.disk import full
from pipeline.table.run import Run

SCHEME = "run"
READ_ONLY = "a run's tables are only read here"


class SharedFile:
    """A file that has a separate position for each thread.

    DuckDB reads one file from several threads, each by a seek and a read; another thread's seek may
    come between the two.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._own = threading.local()

    def tell(self) -> int:
        return int(getattr(self._own, "position", 0))

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._lock:
            start = {0: 0, 1: self.tell(), 2: self._handle.seek(0, 2) if whence == 2 else 0}
            self._own.position = start[whence] + offset
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            self._handle.seek(self.tell())
            data = bytes(self._handle.read(size))
        self._own.position = self.tell() + len(data)
        return data

    def close(self) -> None:
        self._handle.close()


class RunFiles(AbstractFileSystem):
    """The run folder's Parquet files under `run://`, for reading only."""

    protocol = SCHEME
    cachable = False

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base, self._root_path = fsspec.core.url_to_fs(url)

    def _real(self, path: str) -> str:
        return f"{self._root_path}/{self._strip_protocol(path).lstrip('/')}"

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise PermissionError(f"{path}: {READ_ONLY}")
        return SharedFile(self._base.open(self._real(path), "rb"))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {**self._base.info(self._real(path)), "name": path}

    def exists(self, path: str, **_: Any) -> bool:
        return bool(self._base.exists(self._real(path)))

    def glob(self, path: str, **_: Any) -> list[str]:
        return [path]

    def modified(self, path: str) -> datetime:
        try:
            return self._base.modified(self._real(path))
        except NotImplementedError:
            return datetime.fromisoformat("2000-01-01T00:00:00+00:00")


_OF_SQL = (
    duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException,
    duckdb.SyntaxException, duckdb.InvalidTypeException, duckdb.DataError,
    duckdb.NotSupportedError, duckdb.PermissionException,
)  # fmt: skip


def raise_if_not_sql(run: Run, error: duckdb.Error) -> None:
    """Raise StorageError or DamagedError if a full disk or a damaged file made a query fail.

    Errors of the SQL itself or of a row's value are recognised by their class, without reading
    files.
    """
    if isinstance(error, _OF_SQL) or READ_ONLY in str(error):
        return
    if (stopped := full(error, run.folder.local_path)) is not None:
        raise stopped from error
    if (damage := find_damage(run)) is not None:
        raise damage from error
