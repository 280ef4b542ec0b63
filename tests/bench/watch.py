"""Runs a command and watches its process tree: seconds, CPU seconds over time, memory."""

import os
import subprocess
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PAUSE = 0.05
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Watched:
    """What one command took. CPU is user and system of the command and all it started."""

    start: float
    end: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    """Most resident bytes of the tree, added up (pages that processes share count in each)."""
    trace: list[tuple[float, float]] = field(default_factory=list)

    def cpu_at(self, moment: float) -> float:
        """CPU seconds used until a moment (Unix time), between two samples by a straight line."""
        points = [(self.start, 0.0), *self.trace, (self.end, self.cpu)]
        at = bisect_left([when for when, _ in points], moment)
        if at == 0 or at == len(points):
            return points[min(at, len(points) - 1)][1]
        (before, low), (after, high) = points[at - 1], points[at]
        return low + (high - low) * (moment - before) / max(after - before, 1e-9)


def run(command: list[str], env: dict[str, str], cwd: Path, log: Path) -> Watched:
    """Run to the end. RuntimeError with the log's tail if it fails."""
    with log.open("wb") as sink:
        watched = Watched(time.time())
        process = subprocess.Popen(
            command, env=os.environ | env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=sink,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        done = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, watched, done))
        sampler.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            done.set()
            sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    watched.end = time.time()
    # A process that nobody waited for is in the samples alone.
    watched.cpu = max(usage.ru_utime + usage.ru_stime, *(cpu for _, cpu in watched.trace), 0.0)
    if process.returncode:
        tail = log.read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{tail}")
    return watched


def _sample(pid: int, watched: Watched, done: threading.Event) -> None:
    page, tree, turn, most = os.sysconf("SC_PAGE_SIZE"), [pid], 0, 0.0
    while not done.wait(_PAUSE):
        if turn % 5 == 0:
            try:
                tree = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
            except psutil.Error:
                return
        turn += 1
        cpu = memory = 0
        for number in tree:
            try:
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # utime, stime, and those of children already waited for
            cpu += sum(int(value) for value in fields[11:15])
            memory += int(fields[21])
        most = max(most, cpu / _TICK)  # between a child's end and its parent's wait it would dip
        watched.trace.append((time.time(), most))
        watched.peak = max(watched.peak, memory * page)
