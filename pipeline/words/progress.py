"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as _ProgressColumn
from rich.table import Column
from rich.text import Text

from pipeline.words.heartbeat import beat


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit with 1, the exit code of a bug


def console() -> Console:
    """stdout, for text that a person reads. BrokenPipeError if its reader has closed it."""
    return _Screen()


class Reporter(Protocol):
    """Shows the progress of each stage."""

    def start(self, stage: str, total: int, done: int = 0, unit: str = "rows") -> None:
        """A stage begins with `total` rows, `done` of which are done from an earlier run; `unit`
        says what is counted if it is not rows."""

    def advance(self, stage: str, rows: int, note: str = "") -> None:
        """`rows` more are done; `note` is a short count, e.g. "1,200 kept, 300 dropped"."""

    def say(self, line: str) -> None:
        """One line for the user."""


class _Rate(_ProgressColumn):
    """Rows per second since the stage began, without rows of an earlier run."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


class Bars:
    """One bar per stage with rows/s, counts and time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>8}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            MofNCompleteColumn(table_column=Column(no_wrap=True, justify="right")),
            _Rate(table_column=Column(no_wrap=True, justify="right")),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", style="dim", table_column=Column(no_wrap=True)),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, stage: str, total: int, done: int = 0, unit: str = "rows") -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(
                stage,
                total=total,
                completed=done,
                note="up to date" if done and done == total else "",
            )
        else:
            self._progress.update(self._tasks[stage], total=total, completed=done)

    def advance(self, stage: str, rows: int, note: str = "") -> None:
        beat()
        self._progress.update(self._tasks[stage], advance=rows, note=note)

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Lines:
    """A line when a stage begins, every few seconds, and when it ends."""

    every = 5.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total: dict[str, int] = {}
        self._unit: dict[str, str] = {}
        self._done: dict[str, int] = {}
        self._begin: dict[str, tuple[float, int]] = {}
        self._reported_at: dict[str, float] = {}

    def start(self, stage: str, total: int, done: int = 0, unit: str = "rows") -> None:
        self._total[stage], self._done[stage], self._unit[stage] = total, done, unit
        self._begin[stage] = (time.monotonic(), done)
        if done and done == total:
            self.say(f"{stage}: {done:,} {unit} up to date")

    def advance(self, stage: str, rows: int, note: str = "") -> None:
        beat()
        self._done[stage] += rows
        now = time.monotonic()
        done, total = self._done[stage], self._total[stage]
        if done < total and now - self._reported_at.get(stage, 0.0) < self.every:
            return
        self._reported_at[stage] = now
        begin, done_before = self._begin[stage]
        rate = (done - done_before) / max(now - begin, 1e-3)
        left = f", {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        counts = f", {note}" if note else ""
        unit = self._unit[stage]
        self.say(f"{stage}: {done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s{left}{counts}")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class _Lenient:
    """A stream that may be gone, or on a full disk: a run does not end because nobody sees it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._going_on():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._going_on():
            self._stream.flush()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError:
            pass


def reporter() -> contextlib.AbstractContextManager[Reporter]:
    """Bars if stderr is a terminal, else lines."""
    stream = cast(TextIO, _Lenient(sys.stderr))
    console = Console(file=stream)
    return Bars(console) if console.is_terminal else contextlib.nullcontext(Lines(stream))
