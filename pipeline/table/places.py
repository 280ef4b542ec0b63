"""Reads one file below a folder, and nothing else: no link out of it, no pipe, no device."""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from pipeline.words.failure import FetchError

_FILE = "file://"


@dataclass(frozen=True)
class Place:
    """A file below a folder: `folder` as it was named, a path or a store's URL, `name` below it."""

    folder: str
    name: str


def read_place(place: Place, most: int) -> bytes:
    """The file's bytes. FetchError: too_large (over `most`), file_missing, path_forbidden."""
    with reading_here():
        if "://" in place.folder and not place.folder.startswith(_FILE):
            return _read_store(place, most)
        return _read_local(place, most)


@contextlib.contextmanager
def reading_here() -> Iterator[None]:
    """Turns the errors of a file that is not there or cannot be read: FetchError, file_missing."""
    try:
        yield
    except FileNotFoundError:
        raise FetchError("file_missing", "there is no such file") from None
    except OSError as error:
        raise FetchError("file_missing", f"cannot be read: {error.strerror or error}") from None
    except (RuntimeError, UnicodeError) as error:  # a loop of links; a name that is no text
        raise FetchError("file_missing", f"cannot be read: {error}") from None


def check_bytes(size: int, most: int) -> None:
    """FetchError, too_large, for a file of more than `most` bytes."""
    if size > most:
        raise FetchError("too_large", f"over {most:,} bytes")


def _read_local(place: Place, most: int) -> bytes:
    root = Path(place.folder.removeprefix(_FILE)).resolve()
    path = (root / place.name).resolve()
    if not path.is_relative_to(root):
        raise FetchError("path_forbidden", "a link leads out of the allowed folder")
    # A pipe would be waited for, and a device has no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FetchError("file_missing", "not a regular file")
        return _read(handle, most)


def _read_store(place: Place, most: int) -> bytes:
    # Only the job's own folder is read as a URL: in the list's name fsspec would follow `::`.
    fs, root = fsspec.core.url_to_fs(place.folder)
    with fs.open(f"{root.rstrip('/')}/{place.name}", "rb") as handle:
        return _read(handle, most)


def _read(handle: Any, most: int) -> bytes:
    data = bytes(handle.read(most + 1))
    check_bytes(len(data), most)
    return data
