"""One file of the list: its address and format, and how it is opened."""

import contextlib
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.spec import AbstractBufferedFile

from pipeline.ingest.bounds import is_plain_bomb, unpacks_too_far
from pipeline.words.errors import InputError

COMPRESSIONS = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz",
}  # fmt: skip
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """One file of the list."""

    url: str
    format: str
    key: str
    """A text that changes when the file does."""
    size: int
    """Bytes, as stored."""
    partition: tuple[tuple[str, str | None], ...] = ()
    """Columns that the names of its folders give (Hive's `lang=de/`), with their one value."""
    delimiter: str = ""
    """What separates cells, in CSV and TSV; empty: the format's own."""
    names: tuple[str, ...] | None = None
    """The columns' names by position, for CSV and TSV without a header line."""
    picture: str = ""
    """The column of Parquet that holds the pictures themselves; empty if none does."""
    left_out: tuple[str, ...] = ()
    """Columns of Parquet that are not read, since they hold further files."""
    stamp: str = ""
    """Eight hex digits that change with the content, but not with a file's owner or mode."""

    @property
    def holds_pictures(self) -> bool:
        """Whether the pictures are in the file itself, so that none is fetched."""
        return bool(self.picture) or self.is_of_samples

    @property
    def is_of_samples(self) -> bool:
        """Whether a row is a picture and the files beside it."""
        return self.format in ("webdataset", "imagefolder")

    @property
    def compression(self) -> str | None:
        """As the name says, in any case; of Parquet only the pages are compressed."""
        return None if self.format == "parquet" else compression_of(self.url)

    @property
    def separator(self) -> str:
        return self.delimiter or {"csv": ",", "tsv": "\t"}.get(self.format, "")

    def open(self) -> Any:
        """The file's bytes, unpacked. Reading them raises InputError where they are more than a
        packed file of its size may have."""
        packed = self.compression
        if packed == "zstd":  # fsspec has it only with another package
            handle = pa.PythonFile(fsspec.open(self.url, "rb").open(), "r")
            return io.BufferedReader(_Unpacked(self, pa.CompressedInputStream(handle, "zstd")))
        found = fsspec.open(self.url, "rb", compression=packed).open()
        if packed is not None:
            return io.BufferedReader(_Unpacked(self, found), _READ)
        # A store's file has no bound for the length of a line.
        is_text = self.format in ("csv", "tsv", "jsonl", "json")
        return (
            io.BufferedReader(found, _READ)
            if is_text and isinstance(found, AbstractBufferedFile)
            else found
        )


_READ = 1 << 20


class _Unpacked(io.RawIOBase):
    """The bytes of a packed file, as far as one of its size may unpack."""

    def __init__(self, source: Source, handle: Any) -> None:
        self._source, self._handle, self._bytes = source, handle, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._handle.read(len(buffer))
        buffer[: len(data)] = data
        self._bytes += len(data)
        if is_plain_bomb(self._source.size, self._bytes):
            raise unpacks_too_far(self._source.url, "it", self._source.size)
        return len(data)

    def close(self) -> None:
        self._handle.close()
        super().close()


def compression_of(path: str) -> str | None:
    """How a file is compressed, by its name in any case."""
    ends = {**COMPRESSIONS, ".tgz": "gzip"}
    return next((kind for end, kind in ends.items() if path.lower().endswith(end)), None)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


_BROKEN = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, EOFError, zlib.error,
           lzma.LZMAError)  # fmt: skip


@contextlib.contextmanager
def reading(source: Source) -> Iterator[None]:
    """InputError, naming the file, for the readers' errors on a broken file or another format."""
    try:
        yield
    except _BROKEN as error:
        raise InputError(
            f"input: {source.url} cannot be read: {first_line(error)}; is the file whole?"
        ) from error
    except MemoryError as error:  # Arrow's, too
        raise InputError(
            f"input: {source.url} needs more memory than there is: {first_line(error)}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"input: {source.url} is not UTF-8: {first_line(error)}") from error
