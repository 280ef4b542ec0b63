"""Pictures that are here already: read from the folders that the job allows, without any request.

A list that was scraped must not be able to read the disk, so nothing is read unless
`download.allow_paths` names a folder above it, and links that lead out of that folder are refused.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.table.places import Place
from pipeline.words.errors import InputError
from pipeline.words.failure import FetchError

_WEB = re.compile(r"\s*https?:", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


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
