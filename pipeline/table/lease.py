"""The lock of a run on an object store: a lease, which its holder renews while it works.

The object `.lock` names the holder. Who finds one that was not renewed for `SECONDS` takes it over
by a write that is refused if the holder came back meanwhile; and a holder that was away that long
renews it before it writes anything else, and stops if the lease is another's.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.table.objects import Objects
from pipeline.table.stores import ANY, NEW
from pipeline.words.errors import InputError, LateError, StoppedError

NAME = ".lock"
SECONDS = 60.0
"""How long a lease lasts without being renewed."""
RENEWED = 15.0
"""Seconds between two renewals."""
_LOOKED = 2.0
"""Seconds between two looks at another's lease."""


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Lease:
    """A held lease. `acquire` gets one."""

    def __init__(self, objects: Objects, url: str) -> None:
        self._store, self._url = objects.store, url
        self._path = f"{objects.root}/{NAME}"
        self._token = uuid.uuid4().hex
        self._version: str | None = None
        self._renewed = 0.0
        self._ended = threading.Event()
        self._one_at_a_time = threading.Lock()

    @classmethod
    def acquire(cls, objects: Objects, url: str, say: Callable[[str], None]) -> "Lease":
        """InputError if another process holds it; waits for up to `SECONDS` to find out."""
        lease = cls(objects, url)
        condition = lease._wait(say)
        try:
            if condition not in (NEW, ANY) and not lease._store.conditional:
                lease._store.remove([lease._path], [])
                condition = NEW
            lease._write(condition)
        except LateError:
            raise _held(url, holder(objects)) from None
        if not lease._is_exclusive():
            lease._store.not_conditional()
            say(
                f"{url}: this store has no conditional PUT, so nothing but you keeps two runs of "
                "this folder apart"
            )
        threading.Thread(target=lease._keep, name="winnow-lease", daemon=True).start()
        objects.guard = lease.check
        return lease

    def check(self) -> None:
        """StoppedError if the lease is another's by now."""
        if _now() - self._renewed > SECONDS / 2:
            self._renew()

    def release(self) -> None:
        self._ended.set()
        with self._one_at_a_time, contextlib.suppress(OSError):
            if _now() - self._renewed < SECONDS / 2:
                self._store.remove([self._path], [])

    def _wait(self, say: Callable[[str], None]) -> str:
        """Wait until nobody holds the lease: the condition for the write that takes it."""
        if (found := self._store.info(self._path)) is None:
            return NEW
        owner = _read(self._store, self._path)
        first, start = found, _now()
        left = SECONDS - (found.age or 0.0)
        if not _is_dead(owner) and left > 0:
            say(f"{self._url}: waits up to {left:.0f} s for the lease of {_named(owner)}")
            while _now() - start < left:
                time.sleep(min(_LOOKED, max(left, 0.1)))
                if (found := self._store.info(self._path)) is None:
                    return NEW
                if found.version != first.version or (
                    found.version is None and _read(self._store, self._path) != owner
                ):
                    raise _held(self._url, owner)
        return found.version or ANY

    def _write(self, condition: str) -> None:
        about = {
            "host": socket.gethostname(), "machine": _machine(), "process": os.getpid(),
            "token": self._token, "renewed": round(time.time(), 3),
        }  # fmt: skip
        start = _now()
        self._version = self._store.write(self._path, json.dumps(about).encode(), condition)
        self._renewed = start

    def _is_exclusive(self) -> bool:
        """Whether the store refuses a write of a new object where there is one."""
        try:
            self._write(NEW)
        except LateError:
            return True
        return False

    def _renew(self) -> None:
        with self._one_at_a_time:
            if self._ended.is_set():
                return
            try:
                if self._version is None or not self._store.conditional:
                    if _read(self._store, self._path).get("token") != self._token:
                        raise LateError(self._path)
                    self._write(ANY)
                else:
                    self._write(self._version)
            except (LateError, FileNotFoundError):
                raise StoppedError(
                    f"{self._url}: another winnow has taken over this run, since this one had not "
                    "renewed its lease in time; what it wrote stays, and this one stops"
                ) from None

    def _keep(self) -> None:
        while not self._ended.wait(RENEWED):
            try:
                self._renew()
            except StoppedError:
                self._renewed = float("-inf")  # the next `check` says so
                return
            except OSError:
                continue  # the store may answer again; `check` is strict


def holder(objects: Objects) -> dict[str, Any] | None:
    """Who holds the lease of a run: `host`, `process`; None if nobody does."""
    path = f"{objects.root}/{NAME}"
    if objects.entry(path) is None or (found := objects.store.info(path)) is None:
        return None
    if found.age is not None and found.age > SECONDS:
        return None
    return _read(objects.store, path)


def _read(store: Any, path: str) -> dict[str, Any]:
    try:
        values = json.loads(store.read(path)[0])
    except (FileNotFoundError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _machine() -> str:
    """What two machines or containers never share, as they may share a name; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether it was a process of this machine that has ended."""
    if not _machine() or owner.get("machine") != _machine():
        return False
    if not isinstance(owner.get("process"), int):
        return False
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _named(owner: dict[str, Any] | None) -> str:
    owner = owner or {}
    return f"process {owner.get('process', 'unknown')} on {owner.get('host', 'unknown')}"


def _held(url: str, owner: dict[str, Any] | None) -> InputError:
    return is_locked(url, _named(owner))


def is_locked(url: str, by: str) -> InputError:
    """The error for a run folder that another winnow works on."""
    return InputError(
        f"{url} is locked by a running winnow ({by}); "
        "wait for it, or give this job another `name` or `output`"
    )
