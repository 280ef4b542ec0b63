"""Files that are held against their checksums before they are read.

A file is hashed once in a process, and again only if its size or its times of change differ.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from pipeline.table.disk import mark_of
from pipeline.table.parquet import Filter, read_file
from pipeline.table.part import file_digest, recorded_sums
from pipeline.table.recent import recent
from pipeline.table.storage import Folder
from pipeline.words.errors import DamagedError
from pipeline.words.threads import worker_threads

MISSING, CUT, CHANGED = "missing", "cut", "changed"
"""What may be wrong with a file that has a checksum."""
_MOST = 100_000
"""Files whose digests are remembered; at 300 bytes each."""
_known: dict[tuple[str, int, int, int, int], str] = {}
_lock = threading.Lock()


def digest_once(path: Path) -> str:
    """sha256, hex, over a local file's bytes."""
    key = (str(path), *mark_of(path))
    if (digest := _known.get(key)) is None:
        digest = file_digest(path)
        with _lock:
            if len(_known) >= _MOST:
                _known.clear()
            _known[key] = digest
    return digest


def is_whole(folder: Folder, name: str, sha256: str) -> bool:
    """Whether a file is there and has this checksum."""
    try:
        with folder.local(name) as path:
            return digest_once(path) == sha256
    except FileNotFoundError:
        return False


def damaged_files(folder: Folder, sums: Mapping[str, str]) -> Iterator[str]:
    """Names of the files that are missing or do not have their checksum; read on all cores."""
    with ThreadPoolExecutor(worker_threads()) as pool:
        whole = pool.map(lambda item: is_whole(folder, *item), sums.items())
        yield from (name for name, good in zip(sums, whole, strict=True) if not good)


@contextlib.contextmanager
def checked(run_url: str, folder: Folder, name: str, sha256: str | None) -> Iterator[Path]:
    """A local path to read, of a file that has this checksum (None: it is not compared).

    Raises DamagedError, which names the file and the next step.
    """
    known = None if sha256 is None or folder.is_local else recent.get(("sha256", sha256))
    if known is not None:
        with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
            path = Path(scratch) / "file"
            path.write_bytes(known)
            yield path
        return
    with folder.local(name) as path:
        if sha256 is not None:
            if digest_once(path) != sha256:
                raise DamagedError(damage_line(run_url, folder.path(name)))
            folder.remember(path, sha256)
        yield path


def read_recorded(
    run_url: str,
    folder: Folder,
    record: str,
    file: str,
    columns: Sequence[str] | None = None,
    filters: Sequence[Filter] = (),
    *,
    digest: str | None = None,
) -> pa.Table:
    """`read_file` of a file that the sidecar `record` names; `digest` is that of its part, if it
    is known.

    Raises DamagedError if it is not as it was written.
    """
    sum_ = recorded_sums(folder, record, digest).get(file)
    with checked(run_url, folder, file, sum_) as path:
        return read_file(path, columns, filters)


def damage_line(run_url: str, path: str) -> str:
    """What is said of a damaged file."""
    return (
        f"{path} was cut or changed from outside; `winnow verify {run_url} --mend` makes it again"
    )
