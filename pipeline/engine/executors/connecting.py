"""Connecting to a scheduler that stands."""

import contextlib
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client
from distributed.versions import VersionMismatchWarning, get_versions

from pipeline.engine.executors.probing import one_line, probe, refusal
from pipeline.engine.executors.pulse import ask, versions_of
from pipeline.words.errors import InputError

T = TypeVar("T")
_CONNECT = 10.0
"""Seconds to wait for Dask's own connection, once a scheduler has answered."""


@contextlib.contextmanager
def connect(place: str) -> Iterator[Client]:
    """A client of the scheduler at an address or in a scheduler file.

    InputError if none answers there, if it demands another protocol, or if its versions of Python
    and Dask are others than here.
    """
    address = _read_file(Path(place)) if Path(place).is_file() else place
    probe(place, address)
    timeout = f"{_CONNECT:g}s"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # checked below
            client = within(
                _CONNECT, lambda: Client(address, set_as_default=False, timeout=timeout)
            )
    except Exception as error:  # there are many kinds
        what = f"Dask cannot connect to it ({one_line(error)})"
        raise refusal(place, what, "look at the scheduler's log") from error
    with client:
        scheduler: Any = client.scheduler
        said = client.sync(scheduler.versions, callback_timeout=_CONNECT)
        _check_versions(place, "the scheduler", versions_of(said["packages"]))
        yield client


def check_workers(place: str, client: Client) -> None:
    """InputError if a worker's versions of Python and Dask are others than here."""
    for address, worker in ask(client).workers.items():
        _check_versions(place, f"its worker {address}", worker.versions)


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`; TimeoutError if it takes longer, and then it is left to itself."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answers[0]


def _read_file(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cluster.scheduler: {path} is no scheduler file ({one_line(error)}); "
            "`dask scheduler --scheduler-file` writes one"
        ) from error


def _check_versions(place: str, who: str, theirs: tuple[str, ...]) -> None:
    ours = versions_of(get_versions()["packages"])
    other = [
        f"{name} {their} (here {our})"
        for name, their, our in zip(("Python", "dask", "distributed"), theirs, ours, strict=True)
        if their != our
    ]
    if other:
        raise refusal(place, f"{who} has {', '.join(other)}", "start all from one environment")
