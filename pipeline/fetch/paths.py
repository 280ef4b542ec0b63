"""Pictures that are here already: read from the folders that the job allows, without any request.

A list that was scraped must not be able to read the disk, so nothing is read unless
`download.allow_paths` names a folder above it, and links that lead out of that folder are refused.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.words.errors import InputError
from pipeline.words.failure import FetchError

_WEB = re.compile(r"\s*https?:", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class Place:
    """A file below an allowed folder: `folder` as the job names it, `name` below it."""

    folder: str
    name: str


def check_folder(folder: str) -> None:
    """InputError for an allowed folder that is not there or cannot be reached."""
    try:
        fs, path = fsspec.core.url_to_fs(folder)
        found = bool(fs.isdir(path))
    except Exception as error:  # each store has its own errors
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"download.allow_paths: {folder} cannot be reached: {what}") from error
    if "://" in folder and isinstance(fs, LocalFileSystem):
        raise InputError(f"download.allow_paths: {folder} is on this machine; name its path")
    if not found:
        raise InputError(f"download.allow_paths: there is no folder {folder}")


def is_path(text: str, allowed: Sequence[str]) -> bool:
    """Whether a row's URL is to be read as a path: the job allows paths, and it is no web URL."""
    return bool(allowed) and bool(text.strip()) and not _WEB.match(text)


def find_place(text: str, allowed: Sequence[str]) -> Place:
    """Where the file is: a plain path, `file://` or another store's URL.

    A relative path is one below the first allowed folder. FetchError (path_forbidden) for a path
    below none of them.
    """
    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() == "file":
        machine, slash, path = text[len("file://") :].partition("/")
        if machine not in ("", "localhost"):
            raise FetchError("path_forbidden", f"a file of another machine: {machine[:100]}")
        text = slash + unquote(path)
    elif scheme and not any(folder.startswith(scheme[0]) for folder in allowed):
        raise FetchError("scheme_forbidden", f"`{scheme[1][:40]}`: no allowed folder has it")
    elif not scheme and not text.startswith("/"):
        return _below(allowed[0], text)
    for folder in allowed:
        root = folder.rstrip("/")
        if text.startswith(f"{root}/"):
            return _below(folder, text[len(root) + 1 :].lstrip("/"))
    raise FetchError("path_forbidden", "below no folder of `download.allow_paths`")


def _below(folder: str, name: str) -> Place:
    if "\0" in name or ".." in name.split("/"):
        raise FetchError("path_forbidden", "the path leads out of its folder")
    return Place(folder, name)


def read_place(place: Place, most: int) -> bytes:
    """The file's bytes. FetchError: too_large (over `most`), file_missing, path_forbidden."""
    try:
        if "://" in place.folder:
            return _read_store(place, most)
        return _read_local(place, most)
    except FileNotFoundError:
        raise FetchError("file_missing", "there is no such file") from None
    except OSError as error:
        raise FetchError("file_missing", f"cannot be read: {error.strerror or error}") from None
    except (RuntimeError, UnicodeError) as error:  # a loop of links; a name that is no text
        raise FetchError("file_missing", f"cannot be read: {error}") from None


def _read_local(place: Place, most: int) -> bytes:
    root = Path(place.folder).resolve()
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
    if len(data) > most:
        raise FetchError("too_large", f"over {most:,} bytes")
    return data
