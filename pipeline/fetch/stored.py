"""Reads pictures out of the list's own files: from tars, Parquet's cells, and folders."""

import threading
from collections.abc import Generator, Iterable
from functools import lru_cache

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.table.places import Place, check_bytes, read_place, reading_here
from pipeline.table.stored import InFolder, InTable, InTar, Nowhere, Stored, stamp_of
from pipeline.words.failure import FetchError

_BATCH = 16
"""Rows of a table that are read at once: a picture may have many megabytes."""
_BUFFER = 1 << 20


class StoredPictures:
    """The pictures of one shard. May be used by several threads; to be closed.

    A table is read once, forwards, so its pictures should be asked for in the order of their rows.
    """

    def __init__(self, places: Iterable[Stored]) -> None:
        rows: dict[tuple[str, str], set[int]] = {}
        for place in places:
            if isinstance(place, InTable):
                rows.setdefault((place.file, place.column), set()).add(place.row)
        self._tables = {key: _Table(*key, frozenset(wanted)) for key, wanted in rows.items()}
        self._stamp = lru_cache(maxsize=None)(_stamp)

    def read(self, place: Stored, most: int) -> bytes:
        """The picture's bytes. FetchError: too_large (over `most`), file_missing."""
        if isinstance(place, Nowhere):
            raise FetchError("file_missing", "the sample has no picture")
        file = f"{place.folder}/{place.name}" if isinstance(place, InFolder) else place.file
        if self._stamp(file) != place.stamp:
            raise FetchError("file_missing", "the file changed since its list was read; run again")
        if isinstance(place, InFolder):
            return read_place(Place(place.folder, place.name), most)
        if isinstance(place, InTar):
            return _read_tar(place, most)
        data = self._tables[place.file, place.column].read(place.row)
        if data is None:
            raise FetchError("file_missing", "the cell is empty")
        check_bytes(len(data), most)
        return data

    def close(self) -> None:
        for table in self._tables.values():
            table.close()


def _stamp(file: str) -> str:
    with reading_here():
        fs, path = fsspec.core.url_to_fs(file)
        return stamp_of(fs.info(path))


def _read_tar(place: InTar, most: int) -> bytes:
    check_bytes(place.size, most)
    with reading_here():
        fs, path = fsspec.core.url_to_fs(place.file)
        # By name: s3fs has another parameter in the place of the first.
        data = bytes(fs.cat_file(path, start=place.offset, end=place.offset + place.size))
    if len(data) < place.size:
        raise FetchError("file_missing", "the tar is shorter than when its list was read")
    return data


class _Table:
    """The pictures of one Parquet file, kept from when they are passed until they are asked for."""

    def __init__(self, file: str, column: str, wanted: frozenset[int]) -> None:
        self._file, self._column, self._wanted = file, column, wanted
        self._lock = threading.Lock()
        self._passed: dict[int, bytes | None] = {}
        self._rows = self._read_rows()
        self._error: FetchError | None = None

    def read(self, row: int) -> bytes | None:
        with self._lock:
            while row not in self._passed:
                self._advance()
            return self._passed.pop(row)

    def close(self) -> None:
        self._rows.close()
        self._passed.clear()

    def _advance(self) -> None:
        if self._error is not None:
            raise FetchError(self._error.reason, self._error.detail)
        try:
            row, data = next(self._rows)
        except StopIteration:
            self._error = FetchError("file_missing", "the file has fewer rows than before")
        except (OSError, pa.ArrowException, LookupError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0]
            self._error = FetchError("file_missing", f"cannot be read: {what}")
        else:
            self._passed[row] = data

    def _read_rows(self) -> Generator[tuple[int, bytes | None], None, None]:
        first = 0
        with fsspec.open(self._file, "rb").open() as handle:
            file = pq.ParquetFile(handle, buffer_size=_BUFFER, pre_buffer=False)
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if self._wanted.isdisjoint(range(first, first + count)):
                    first += count
                    continue
                for batch in file.iter_batches(_BATCH, [group], [self._column]):
                    wanted = [i for i in range(batch.num_rows) if first + i in self._wanted]
                    cells = batch.columns[0]
                    for i in wanted:
                        cell = cells[i].as_py()
                        yield first + i, cell["bytes"] if isinstance(cell, dict) else cell
                    first += batch.num_rows
