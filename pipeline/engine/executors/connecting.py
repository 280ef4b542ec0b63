"""Connecting to a scheduler that stands."""

import contextlib
import json
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client
from distributed.versions import VersionMismatchWarning

from pipeline.engine.executors.probing import one_line, probe, refusal
from pipeline.engine.executors.versions import STEP, Refused, difference, here, of_dask, want
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
        other = difference(of_dask(said["packages"]), here())
        if other:
            raise refusal(place, f"the scheduler has {other}", STEP)
        yield client


def check_versions(place: str, client: Client, packages: Iterable[str]) -> None:
    """InputError if the scheduler, or a worker that is there, has other versions than here.

    From now on the scheduler refuses workers that do.
    """
    for who, other in want(client, packages):
        whose = f"its worker {who}" if who else "the scheduler"
        raise refusal(place, f"{whose} has {other}", STEP)


def check_refused(place: str, refused: Refused) -> None:
    """InputError if a worker was refused."""
    if refused.first is not None:
        address, why = refused.first
        raise refusal(place, f"its worker {address} {why}", STEP)


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
