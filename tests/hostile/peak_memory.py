"""Measures the peak memory of this process and its children during a block (Linux, /proc)."""

import re
import threading
from pathlib import Path

POLL = 0.05
MIB = 1 << 20
# Memory of an idle decoder (NumPy, OpenCV, Pillow, libjpeg-turbo).
IDLE_CHILD_MB = 160


class PeakMemory:
    """Use as a context; afterwards `grown_mb` and `children_mb` hold, or `unknown` says why not.

    `grown_mb` is how far this process's peak rose above what it held at the start. A child may
    have started within the block and have ended before it does, so for children the highest peak
    that was seen is taken as it is: `children_mb`, 0 without any.
    """

    def __init__(self) -> None:
        self.grown_mb = 0.0
        self.children_mb = 0.0
        self.unknown: str | None = None
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        self._start = 0

    def __enter__(self) -> "PeakMemory":
        try:
            for pid in ("self", *children()):
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
            self._start = _status("self", "VmRSS")
        except OSError as error:
            self.unknown = f"/proc does not give the peak memory here: {error}"
        self._poller.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._poller.join()
        if self.unknown is None:
            self.grown_mb = (_status("self", "VmHWM") - self._start) / MIB

    def _poll(self) -> None:
        ended = False
        while self.unknown is None and not ended:
            ended = self._ended.wait(POLL)
            for pid in children():
                try:
                    self.children_mb = max(self.children_mb, _status(pid, "VmHWM") / MIB)
                except OSError:
                    continue  # it has ended


DECODER = b"pipeline.fetch.picture.child"


def children() -> list[str]:
    """The decoding processes that this process started; others are ignored."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
            found += [pid for pid in pids if DECODER in Path(f"/proc/{pid}/cmdline").read_bytes()]
        except OSError:
            continue  # a thread or a process that has ended
    return found


def _status(pid: str, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0  # a child that has just ended has no memory
