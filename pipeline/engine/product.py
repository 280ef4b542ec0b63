"""The interface of everything that a run makes: shards, parts, export, model, pictures, report.

A product has keys (shards, export shards, or just one), inputs (digests of what it is made from, by
name) and a recipe (what else its content depends on). `pipeline.table.freshness` says of each
whether it is up to date. Planning, running, resuming, counting and takedowns use products through
this interface alone.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pipeline.config.job import Job
from pipeline.table.freshness import Expected, why_stale
from pipeline.table.part import Sidecar, digest_of, file_digest, peak_memory, read_sidecar
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.words.progress import Reporter

if TYPE_CHECKING:
    from pipeline.engine.plan import Node, Plan

Keys = Literal["shards", "export shards", "one"]
ONE = 0
"""The key of a product that has only one."""
CURRENT = "up to date"


@dataclass
class Status:
    """Which keys of a product are up to date."""

    digests: dict[int, str]
    """Digests of what is up to date, by key."""
    total: int | None
    """The number of keys; None while that is not known."""
    unfinished: bool = False
    """Whether there is work left though no key is missing."""
    whole: str | None = None
    """Identifies the product as a whole, where its keys' digests are not enough for that."""

    @property
    def current(self) -> bool:
        """Whether all of it is up to date."""
        return len(self.digests) == self.total and not self.unfinished

    @property
    def content(self) -> str:
        """A digest over what is up to date."""
        return self.whole or digest_of(sorted(self.digests.items()))

    @property
    def digest(self) -> str | None:
        """`content` if nothing is missing: what a later product is made from."""
        return self.content if self.current else None


def what_is_left(products: Mapping[str, Keys], statuses: Mapping[str, Status]) -> str:
    """Which of these products are not up to date, with how many of their keys, in words."""
    left = []
    for name, keys in products.items():
        status = statuses.get(name)
        if status is None or status.current:
            continue
        missing = (status.total or 0) - len(status.digests)
        counted = missing > 0 and keys != "one"
        left.append(f"{name} ({missing} of {status.total} {keys})" if counted else name)
    return ", ".join(left)


def digest_in(before: Mapping[str, Status], name: str) -> str | None:
    """The product's digest; None if the run has no such product or it is not up to date."""
    return before[name].digest if name in before else None


class Work(Protocol):
    """What products may use of the driver while they are made."""

    @property
    def plan(self) -> "Plan": ...

    @property
    def reporter(self) -> Reporter: ...

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Of the products that come before, and of this one as it was found; by name."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Source revision, package versions and models of this run."""

    @property
    def remade(self) -> set[str]:
        """Names of the products of which something was made in this run; each adds its own."""

    @property
    def shards(self) -> Sequence[int]:
        """Shards that are not quarantined."""

    def make_parts(self, node: "Node") -> Status:
        """Have workers make a stage's parts that are not up to date."""

    def run_keys(
        self, product: "Product", calls: Mapping[int, tuple[Any, ...]], rows: int, done: int
    ) -> None:
        """Have workers run one task for each key: a function and its arguments; `done` of the
        product's `rows` are up to date already. Failed keys are quarantined."""


class Product(ABC):
    """One thing that a run makes."""

    keys: ClassVar[Keys]

    @property
    @abstractmethod
    def name(self) -> str:
        """As `winnow plan` and `winnow status` list it."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256, hex, over the recipe."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """The folder of its files, relative to the run folder."""

    @abstractmethod
    def status(self, plan: "Plan", before: Mapping[str, Status]) -> Status:
        """What of it is up to date; `before` are the products that come before it, by name."""

    @abstractmethod
    def why(self, plan: "Plan", before: Mapping[str, Status]) -> str:
        """Why it is not up to date, in words for a user; `CURRENT` if it is."""

    @abstractmethod
    def make(self, work: Work) -> Status:
        """Make what is not up to date; the status afterwards. `work.statuses` holds that before."""

    def facts(self) -> dict[str, Any]:
        """More that `state.json` holds of it, as JSON values."""
        return {}

    def check(self) -> None:  # noqa: B027 - not every product has something to check
        """Before any work: InputError if it could not be made."""

    @classmethod
    def holding(cls, run: Run, uids: Sequence[str]) -> dict[str, Any]:
        """Which files of products of this class hold these rows, those of earlier settings
        included: JSON values, empty if none does. Changes nothing."""
        return {}

    @classmethod  # noqa: B027 - not every product can hold rows
    def erase(cls, run: Run, uids: Sequence[str], held: Mapping[str, Any]) -> None:
        """Remove the rows; `held` is what `holding` found before anything was erased.

        If it is killed it is called again, so a second call must have the same result as one.
        """

    @classmethod
    def damage(cls, run: Run) -> dict[str, str]:
        """What is wrong with damaged files that no record of a part names, by path in the run."""
        return {}

    @classmethod
    def heal(cls, run: Run, file: str) -> str | None:
        """Do without a damaged file, or write it again from others, if the product can be used as
        it is then: a line that says what is lost. None: the product has to be made again."""
        return None

    @classmethod
    def erasure_notes(cls, held: Mapping[str, Any]) -> list[str]:
        """What the erasure does not remove, in words for a user."""
        return []


@dataclass
class Made:
    """The result of making a single product: files, relative to its folder, rows and counts."""

    files: Sequence[str]
    rows: int = 0
    summary: dict[str, Any] = field(default_factory=dict)


class Single(Product):
    """A product with one key, made in the driver's own process, with its files in one folder.

    Its sidecar `<name>.json` is in the same folder, so that files of other settings are recognised.
    Other packages can add such products by entry points of the group `winnow.products`.
    """

    keys = "one"
    rank: ClassVar[int]
    """Single products are made after the export, in the order of their ranks."""
    follows: ClassVar[bool] = False
    """Whether it is made again after a retry or a takedown, or only by a run."""
    shows_end: ClassVar[bool] = False
    """Whether it shows the end of the run, and so is made after the end is noted."""
    place: ClassVar[str]
    """Its folder, relative to the run's."""

    def __init__(self, run: Run, job: Job) -> None:
        self.run, self.job = run, job

    @classmethod
    def of(cls, run: Run, job: Job) -> "Single | None":
        """The job's product; None if the job has none."""
        return cls(run, job)

    @property
    def folder(self) -> str:
        return self.place

    @property
    def fingerprint(self) -> str:
        return digest_of(self.recipe())

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What its content depends on in addition to its inputs, as JSON values."""

    @abstractmethod
    def inputs(self, before: Mapping[str, Status]) -> dict[str, str | None]:
        """Digests of what it is made from, by name; None for a product that is not there."""

    @abstractmethod
    def produce(self, work: Work) -> Made:
        """Write its files, in the driver's process."""

    @abstractmethod
    def paths(self) -> dict[str, str]:
        """Paths to open, by their names in the output of `winnow run`."""

    @property
    def _sidecars(self) -> Folder:
        return self.run.folder.sub(self.place)

    def _why(self, before: Mapping[str, Status]) -> tuple[str | None, Sidecar | None]:
        inputs = self.inputs(before)
        missing = [name for name, digest in inputs.items() if digest is None]
        if missing:
            return f"waits for {', '.join(missing)}", None
        expected = Expected(self.fingerprint, {k: v for k, v in inputs.items() if v is not None})
        sidecar = read_sidecar(self._sidecars, self.name)
        return why_stale(sidecar, expected), sidecar

    def status(self, plan: "Plan", before: Mapping[str, Status]) -> Status:
        why, sidecar = self._why(before)
        return Status({ONE: sidecar.digest} if sidecar and why is None else {}, 1)

    def why(self, plan: "Plan", before: Mapping[str, Status]) -> str:
        return self._why(before)[0] or CURRENT

    def make(self, work: Work) -> Status:
        """Does nothing if an input is missing. The sidecar is written last."""
        status = work.statuses[self.name]
        if status.current:
            return status
        inputs = self.inputs(work.statuses)
        known = {name: digest for name, digest in inputs.items() if digest is not None}
        if len(known) < len(inputs):
            return status
        work.remade.add(self.name)
        return self.commit(known, lambda: self.produce(work))

    def commit(self, inputs: Mapping[str, str], produce: Callable[[], Made]) -> Status:
        """Have `produce` write the files, then write the sidecar with their checksums."""
        folder, start = self._sidecars, time.monotonic()
        folder.remove(f"{self.name}.json")
        made = produce()
        sizes, digests = {}, {}
        for file in made.files:
            with folder.local(file) as path:
                sizes[file], digests[file] = Path(path).stat().st_size, file_digest(path)
        sidecar = Sidecar(
            self.name, self.fingerprint, -1, made.rows, dict(inputs), digest_of(digests), sizes,
            digests, round(time.monotonic() - start, 3), round(peak_memory(), 1), made.summary,
        )  # fmt: skip
        folder.write(f"{self.name}.json", sidecar.encode())
        return Status({ONE: sidecar.digest}, 1)


def find_statuses(
    plan: "Plan", products: Sequence[Product], known: Mapping[str, Status] | None = None
) -> dict[str, Status]:
    """The status of each product, in order; those that are `known` are not looked for again."""
    found: dict[str, Status] = {}
    with plan.run.folder.hold():
        for product in products:
            had = known.get(product.name) if known else None
            found[product.name] = had or product.status(plan, found)
    return found
