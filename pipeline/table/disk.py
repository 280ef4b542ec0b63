"""Which errors a full, broken or closed disk caused, and how much space is left on it."""

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.words.errors import StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN = frozenset({errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE})
"""Error numbers of a full and of a broken disk; no mistake of a program has these."""
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
"""Error numbers of a folder that may not be used."""
_CODES = {os.strerror(code): code for code in _FULL | {errno.EROFS, errno.EIO}}
_WORDS = re.compile("|".join(map(re.escape, _CODES)))
_SHORT = re.compile(r"\d+ requested and \d+ written")
"""numpy's message for a short write, for which the C library gives no error number."""


@contextlib.contextmanager
def writing(where: str, what: str | None = None) -> Iterator[None]:
    """Turns errors in the block that the disk of the folder `where` caused: StorageError, which
    names `what` was to be written there. `where` is empty for an object store."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if (found := _storage_error(error, where, what or where)) is None:
            raise
        raise found from error


def full(error: BaseException, folder: str | None) -> StorageError | None:
    """The error as a StorageError if a full, broken or closed disk caused it; else None.

    Most such errors do not say on which disk the file was. Then it is taken for that of the run's
    `folder` (None for an object store), unless that for temporary files has less free space.
    """
    if isinstance(error, StorageError):
        return error
    places = [place for place in (folder, tempfile.gettempdir()) if place is not None]
    return _storage_error(error, min(places, key=lambda place: free_space(place) or 0), None)


def mark_of(path: Path) -> tuple[int, int, int, int]:
    """What is another once a file was written again or replaced. FileNotFoundError."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def free_space(path: str) -> int | None:
    """Bytes that may still be written to the disk of a folder, which may have to be made first;
    None if that is not known."""
    found = _disk(path)
    return None if found is None else found.f_bavail * found.f_frsize


def _storage_error(error: BaseException, where: str, what: str | None) -> StorageError | None:
    """`what` was to be written; None if that is not known."""
    for one in _chain(error):
        code = one.errno if isinstance(one, OSError) else None
        files = [getattr(one, name, None) for name in ("filename", "filename2")]
        named = [os.fsdecode(name) for name in files if isinstance(name, str | bytes)]
        problem = f"{next(iter(named), where)} cannot be used"
        if what is not None:
            problem = f"{what} cannot be written"
        # Libraries in C++ and Rust (DuckDB, torch, safetensors) pass on only the message.
        if code is None and (found := _WORDS.search(str(one))):
            code = _CODES[found[0]]
        elif code is None and _SHORT.search(str(one)):
            code = errno.ENOSPC
        if code in _FULL:
            disk = _disk(where) if where else None
            if disk is not None and disk.f_files > 0 and disk.f_favail == 0:
                why = f"{os.strerror(code)}: it can hold no more files (inodes)"
                return StorageError(problem, why, "remove some files")
            free = free_space(where) if where else None
            return StorageError(problem, os.strerror(code), "free some space", free, where)
        if code in _BROKEN:
            return StorageError(problem, os.strerror(code), "repair the disk")
        if code in _FORBIDDEN and where and any(name.startswith(where) for name in named):
            return StorageError(problem, os.strerror(code), "let this account write there")
    return None


def _disk(folder: str) -> os.statvfs_result | None:
    """The disk of a folder that may not be there yet."""
    for place in (Path(folder), *Path(folder).parents):
        with contextlib.suppress(OSError):
            return os.statvfs(place)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.append(one)
            yield one
            waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
