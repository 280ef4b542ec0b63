"""Which tasks the driver's own process is at: if it dies, the next run knows by whose fault.

A task that runs in the driver's process (`executor: inline`, light stages) leaves a mark in the run
folder while it runs. One that ends the process leaves it for good, and so does one that hangs. The
next run treats such a task as one whose worker died: it is run by itself, in another process.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.engine.tasks import TimedResult
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.words.doing import doing
from pipeline.words.errors import DiedError

FOLDER = "running"


@dataclass(frozen=True)
class Mark:
    """A task that runs: its products, its step and its key (None: it works on all keys)."""

    names: tuple[str, ...]
    step: str
    key: int | None
    has_hung: bool = False

    @property
    def file(self) -> str:
        words = ["+".join(self.names), *self.step.split()]
        return "-".join([*words, *([] if self.key is None else [f"{self.key:05d}"])]) + ".json"

    def is_of(self, other: "Mark") -> bool:
        """Whether it is the same task; picture stages may be grouped in another way by now."""
        same = (self.step, self.key) == (other.step, other.key)
        return same and not set(self.names).isdisjoint(other.names)

    def write(self, folder: Folder) -> None:
        folder.sub(FOLDER).write(self.file, json.dumps(asdict(self)).encode())

    def remove(self, folder: Folder) -> None:
        folder.sub(FOLDER).remove(self.file)

    @contextlib.contextmanager
    def left_by_a_death(self, folder: Folder) -> Iterator[None]:
        """The mark is there during the block. It stays if the process ends meanwhile, and if the
        task has ended a process of its own, too: in this one it would end the driver."""
        self.write(folder)
        try:
            yield
        except DiedError:
            raise
        except BaseException:
            self.remove(folder)
            raise
        self.remove(folder)


def left_in(folder: Folder) -> list[Mark]:
    """The marks of earlier runs; none on an object store."""
    if not folder.is_local:
        return []
    found, place = [], folder.sub(FOLDER)
    for name in place.names():
        with contextlib.suppress(ValueError, TypeError, KeyError, FileNotFoundError):
            values = json.loads(place.read(name))
            found.append(Mark(**{**values, "names": tuple(values["names"])}))
    return found


def run_marked(
    run_url: str, plan_digest: str, mark: Mark, name: str, work: Callable[..., TimedResult],
    *args: Any,
) -> TimedResult:  # fmt: skip
    """Run a task in this process, with its mark in the run folder; `name` is for messages.

    On an object store, where a mark would be two more requests a task, none is left.
    """
    folder = Run(run_url).folder
    if not folder.is_local:
        with doing(name):
            return work(run_url, plan_digest, *args)
    has_hung = replace(mark, has_hung=True)
    with (
        mark.left_by_a_death(folder),
        doing(name, given_up=lambda: has_hung.write(folder)),
    ):
        return work(run_url, plan_digest, *args)
