"""How much memory this process may use, and whether an end or an error was for want of it."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

CLOSE = 0.9
"""Share of the limit from which on a process that the kernel killed was killed for its memory."""
_CGROUP = Path("/sys/fs/cgroup")
_FILES = {
    "limit": ("memory.max", "memory/memory.limit_in_bytes"),
    "kills": ("memory.events", "memory/memory.oom_control"),
}
"""By what they hold: a container's files, of version 2 and 1."""


@dataclass(frozen=True)
class Limit:
    """Bytes, and whose limit that is: the worker's, the container's or the machine's."""

    size: int
    whose: str


_worker: list[Limit] = []


def set_worker_limit(size: int | None) -> None:
    """Note the limit at which whoever started this worker ends it; None or 0: there is none."""
    _worker[:] = [Limit(size, "the worker's")] if size else []


def memory_limit() -> Limit:
    """The least of the limits that this process has."""
    page = os.sysconf("SC_PAGE_SIZE")
    limits = [*_worker, Limit(page * os.sysconf("SC_PHYS_PAGES"), "the machine's")]
    with contextlib.suppress(ValueError):  # `max`
        limits.append(Limit(int(_read("limit") or "max"), "the container's"))
    return min(limits, key=lambda limit: limit.size)


def kills() -> int:
    """How many processes the kernel has ended for the container's memory; 0 if unknown."""
    lines = (line.split() for line in _read("kills").splitlines())
    return next((int(line[1]) for line in lines if line[:1] == ["oom_kill"]), 0)


def _read(what: str) -> str:
    for name in _FILES[what]:
        with contextlib.suppress(OSError):
            return (_CGROUP / name).read_text().strip()
    return ""


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now; 0 if that cannot be seen."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library says with this error that memory could not be had.

    Most raise MemoryError or a subclass; torch, DuckDB, ONNX Runtime and OpenCV have their own.
    """
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(
        words in text for words in ("can't allocate memory", "cannot allocate memory", "bad_alloc")
    )


def shown(size: int) -> str:
    """Bytes in words."""
    return f"{size / 2**20:,.0f} MiB"
