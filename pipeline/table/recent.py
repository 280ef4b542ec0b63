"""The bytes of small objects that this process read or wrote last, by what identifies them.

While a run works on an object store, its processes on this machine share them through a folder.
"""

import contextlib
import hashlib
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from pipeline.table.stores import SMALL

MOST = 128 << 20
"""Bytes that are remembered by a process."""
SHARED = "WINNOW_SHARED"
"""The environment's variable with the folder that the run's processes share."""
_SHARED_BY_ONE = 512 << 20
"""Bytes that one process puts there."""
Key = tuple[str, ...]
"""("version", path, version) or ("sha256", digest)."""


class Recent:
    def __init__(self) -> None:
        self._held: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = self._shared = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> bytes | None:
        with self._lock:
            if (data := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return data
        if (path := _place(key)) is None:
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if key[0] == "sha256" and hashlib.sha256(data).hexdigest() != key[1]:
            return None
        self._hold(key, data)
        return data

    def add(self, key: Key, data: bytes) -> None:
        if len(data) > SMALL:
            return
        self._hold(key, data)
        path = _place(key)
        if path is None or self._shared > _SHARED_BY_ONE or path.exists():
            return
        self._shared += len(data)
        part = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:  # a full disk: then it is read from the store
            part.unlink(missing_ok=True)

    def _hold(self, key: Key, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._held.pop(key, b""))
            self._held[key] = data
            while self._bytes > MOST:
                self._bytes -= len(self._held.popitem(last=False)[1])


recent = Recent()


def _place(key: Key) -> Path | None:
    folder = os.environ.get(SHARED)
    return Path(folder) / hashlib.sha256("\0".join(key).encode()).hexdigest() if folder else None


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """In the block, this process and those that it starts share what they read and write."""
    os.environ[SHARED] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(SHARED, None)
