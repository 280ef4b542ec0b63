"""The versions that driver, scheduler and workers must have in common, and who is refused for them.

The scheduler compares them when a worker registers, before it gets any task, and once more when our
plugin has started on it and can say which packages are installed there. It does so only while a
driver is connected: on a scheduler that others use too, we have no say at other times.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distributed import Client, Scheduler, Worker
from distributed.comm.addressing import get_address_host
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.versions import get_versions

import pipeline

Versions = dict[str, str]
STEP = "start all from one environment"
TOPIC = "winnow-refused"
_ANSWER_TIMEOUT = 10.0
"""Seconds to wait for the scheduler's answer."""


def of_dask(packages: Mapping[str, Any]) -> Versions:
    """What Dask says of a process: Python's first two numbers, and the packages that Dask needs."""
    known = {name: str(found) for name, found in packages.items() if found is not None}
    python = ".".join(known.pop("python", "unknown").split(".")[:2])
    return {"Python": python, **known}


def here(packages: Iterable[str] = ()) -> Versions:
    """This process's versions; with these packages, of which one that is missing has none."""
    found = of_dask(get_versions()["packages"]) | {"winnow": pipeline.__version__}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def difference(theirs: Versions, ours: Versions) -> str:
    """What both know and is not the same, in words; empty if there is nothing."""
    return ", ".join(
        f"{name} {theirs[name]} (here {our})"
        for name, our in ours.items()
        if theirs.get(name, our) != our
    )


class VersionsPlugin(SchedulerPlugin):
    """Refuses workers that a connected driver cannot use."""

    name = "winnow-versions"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._wanted: dict[str, Versions] = {}
        self._found: dict[str, Versions] = {}
        self._starting: set[str] = set()
        self._register_worker = scheduler.handlers["register-worker"]
        scheduler.handlers |= {
            "register-worker": self._register, "winnow_want": self._want, "winnow_join": self._join,
        }  # fmt: skip

    async def _want(self, client: str, versions: Versions) -> list[tuple[str, str]]:
        """From now on these versions are needed; addresses and differences of those that have
        others ("" is the scheduler)."""
        self._wanted[client] = versions
        found = {"": here(versions.keys() - here().keys())}
        for address, ws in self._scheduler.workers.items():
            said = of_dask((ws.versions or {}).get("packages", {}))
            found[address] = said | self._found.get(address, {})
        return [(who, other) for who, had in found.items() if (other := difference(had, versions))]

    async def _register(self, comm: Any, **facts: Any) -> None:
        address = facts["address"]
        other = self._differs(of_dask((facts.get("versions") or {}).get("packages", {})))
        if other:
            why = self._refuse(address, other)
            # The answer that a worker gets whose name is taken: it ends, and says why in its log.
            await comm.write({"status": "error", "message": why, "time": time.time()})
            return
        if self._wanted:
            self._starting.add(address)
        await self._register_worker(comm, **facts)

    async def _join(self, address: str, versions: Versions) -> str:
        """Why a worker cannot be used; empty if it can."""
        self._starting.discard(address)
        self._found[address] = versions
        other = self._differs(versions)
        if not other:
            return ""
        why = self._refuse(address, other)
        # It starts no task before its plugins are set up, so none has failed on it.
        await self._scheduler.remove_worker(address, stimulus_id=self.name, expected=True)
        return why

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._found.pop(worker, None)
        if worker in self._starting:
            # One without winnow cannot start our plugins, and ends.
            self._starting.discard(worker)
            scheduler.log_event(TOPIC, (worker, "ended before winnow's plugins had started on it"))

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        self._wanted.pop(client, None)

    def _differs(self, versions: Versions) -> str:
        return next(filter(None, (difference(versions, o) for o in self._wanted.values())), "")

    def _refuse(self, address: str, other: str) -> str:
        self._scheduler.log_event(TOPIC, (address, f"has {other}"))
        return f"winnow refuses this worker: it has {other}; {STEP}"


class VersionsWorkerPlugin(WorkerPlugin):
    """Tells the scheduler the versions of these packages; it ends a worker that it refuses."""

    name = "winnow-versions"

    def __init__(self, packages: Iterable[str]) -> None:
        self._packages = tuple(packages)

    async def setup(self, worker: Worker) -> None:
        scheduler: Any = worker.scheduler
        why = await scheduler.winnow_join(address=worker.address, versions=here(self._packages))
        if why:
            logging.getLogger("distributed.worker").error(why)


class Refused:
    """Hears which workers are refused while a client is connected."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        """`say` is called with a line, once per machine and reason: a worker that was refused may
        be started again and again."""
        self.first: tuple[str, str] | None = None
        """The first one's address, and what is wrong with it."""
        self._say = say
        self._told: set[tuple[str, str]] = set()
        client.subscribe_topic(TOPIC, self._hear)

    def _hear(self, event: tuple[float, tuple[str, str]]) -> None:
        address, why = event[1]
        self.first = self.first or (address, why)
        key = (get_address_host(address), why)
        if key not in self._told:
            self._told.add(key)
            self._say(f"the worker {address} is not used: it {why}; {STEP}")


def want(client: Client, packages: Iterable[str]) -> list[tuple[str, str]]:
    """Have workers refused that differ from this process; who is there and differs, in what.

    The scheduler's address is "". OSError or TimeoutError if the scheduler does not answer.
    """
    scheduler: Any = client.scheduler
    answer = client.sync(
        scheduler.winnow_want, client=client.id, versions=here(packages),
        callback_timeout=_ANSWER_TIMEOUT,
    )  # fmt: skip
    return [(who, other) for who, other in answer]
