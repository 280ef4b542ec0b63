"""The base classes of stages: what a stage reads and writes, and how it works on one shard.
`measure/whole.py` has that of stages that look at all shards.

A new measurement is one class in one file, in `pipeline/measure/` or in another package
(docs/plugins.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.base import Section
from pipeline.config.job import Job, Rule
from pipeline.config.load import check_section
from pipeline.config.sections import MeasureConfig
from pipeline.table.columns import Column
from pipeline.table.shard import Mask, Rows, ShardData
from pipeline.words.errors import InputError


@dataclass
class Output:
    """A stage's result for one shard: `uid` and its columns, companion files, a few counts."""

    table: pa.Table
    files: dict[str, Path] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A stage with its settings; everything about a stage is defined in its class.

    Instances are small, picklable and hold no model. A stage is part of a job if the job has its
    name under `measure:`; winnow's stages that have keys elsewhere in the job override `of`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    rank: ClassVar[int]
    """Stages run in this order (and by name): captions below 10, the fetch 10, pictures below 30,
    what reads their columns or vectors below 40. A stage reads columns of lower ranks."""
    rules_rank: ClassVar[int | None] = None
    """Position of its default rules among those of other stages; None: by its rank."""
    step: ClassVar[str] = "Other rules"
    """Label of the rules over its columns in the report's funnel."""
    resource: ClassVar[Literal["net", "compute"]] = "compute"
    light: ClassVar[bool] = False
    """Takes a few microseconds a row, so that for a few million no worker needs to be started.
    Its tasks then run in threads of one process: its methods must not change the stage."""
    whole: ClassVar[bool] = False
    """Reads all shards at once (a barrier), not one."""
    Config: ClassVar[type[MeasureConfig]] = MeasureConfig
    """Its section, `measure.<name>`: pydantic fields with descriptions, as in `pipeline.config`."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "Stage | None":
        """The job's stage, None if the job has none; `schema` holds the shards' columns.

        InputError for a section that is not as `Config` has it.
        """
        if cls.name not in job.measure:
            return None
        stage = cls(job)
        _ = stage.section
        return stage

    @property
    def section(self) -> Any:
        """The job's `measure.<name>`, checked: an instance of `Config`."""
        values = self.job.measure.get(self.name)
        return check_section(self.Config, values or {}, f"measure.{self.name}")

    def sections(self) -> dict[str, Section]:
        """The job's sections that hold this stage's keys, by their place, e.g. `measure.<name>`."""
        return {f"measure.{self.name}": self.section} if self.name in self.job.measure else {}

    def changed_effort(self, before: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Keys of the role `effort` that differ from an earlier job's: old and new, as JSON values.

        `before` is that job as JSON values; keys that it does not have are left out.
        """
        found: dict[str, tuple[Any, Any]] = {}
        for place, section in self.sections().items():
            old: Any = before
            for part in place.split("."):
                old = (old or {}).get(part)
            found |= section.changed_since(old or {}, "effort")
        return found

    def default_rules(self) -> tuple[Rule, ...]:
        """Rules over its columns for a job that names none."""
        return ()

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns this stage reads."""

    @property
    @abstractmethod
    def writes(self) -> tuple[Column, ...]:
        """Columns this stage adds."""

    @property
    def only_if(self) -> str | None:
        """SQL over earlier columns; rows that fail it are not measured."""
        only_if: str | None = self.section.only_if
        return only_if

    @property
    def after(self) -> tuple[str, ...]:
        """Stages whose companion files this one reads."""
        return ()

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        """Those of the masks that decide on this stage's rows: its own and those of its inputs."""
        own = {column.name for column in self.writes}
        return tuple(mask for mask in masks if own & mask.hides)

    def settings(self) -> dict[str, Any]:
        """What changes the result, as JSON values; keys at their defaults are left out.

        So a new key with a default makes nothing stale. A default that changes is a new `version`.
        """
        recipe: dict[str, Any] = self.section.recipe()
        return recipe

    def gates(self) -> dict[str, Any]:
        """Settings that decide which rows are refused, not what is measured of the others.

        They are no part of the fingerprint: `reconsider` finds the rows that a change concerns.
        """
        return {}

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose version is part of the fingerprint; may be a class attribute."""
        return ()

    def models(self) -> dict[str, str]:
        """Content digests of the models used, by name."""
        return {}

    def check(self) -> None:  # noqa: B027 - most stages have nothing to check
        """Before any work: InputError if a model, file or setting cannot be used."""

    def outlook(self, rows: int | None) -> str | None:
        """How it would work on a list of so many rows, and what that costs, for `plan`. None for
        `rows`: they are not counted yet. None: nothing to say."""
        return None

    def limits(self) -> tuple[str, ...]:
        """Sentences on what judges and what it cannot tell, for `plan`, the report and the card."""
        return ()

    def notice(self) -> str | None:
        """One line shown to the user before the stage works; None: no line."""
        return None

    def recipe(self, upstream: Mapping[str, str]) -> dict[str, Any]:
        """Everything that the fingerprint covers; `upstream` maps stages read to fingerprints."""
        recipe = {
            "stage": self.name,
            "version": self.version,
            "settings": self.settings(),
            "models": self.models(),
            "upstream": dict(sorted(upstream.items())),
        }
        if self.packages:
            recipe["packages"] = {name: self._version_of(name) for name in self.packages}
        return recipe

    def _version_of(self, package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            raise InputError(
                f"the stage {self.name} needs the package {package}, which is not installed; "
                f"pip install {package}"
            ) from None

    def with_killed(self, table: pa.Table, killed: Mapping[int, str]) -> pa.Table:
        """A part's table, given on which rows its process died and of what; by default as it is."""
        return table

    def summary(self, table: pa.Table) -> dict[str, Any]:
        """A few counts over a whole part, for its sidecar; empty if the stage has none."""
        return {}


class TableStage(Stage):
    """A stage that turns one shard's columns into more columns."""

    @abstractmethod
    def run(self, shard: ShardData, rows: Rows) -> Output:
        """Measure the marked rows; the others' cells are null."""

    def reconsider(self, shard: ShardData, before: Mapping[str, Any], stored: pa.Table) -> Rows:
        """Rows of an existing part that may get another result under today's `gates`.

        `before` are the gates that the part was made under, `stored` is its table.
        """
        return np.zeros(stored.num_rows, bool)


@dataclass
class Measured:
    """A batch's results: columns of one value a picture, arrays of shape (pictures, dim)."""

    columns: dict[str, Sequence[Any] | npt.NDArray[Any]]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


class Session(Protocol):
    """A picture stage's models, loaded in the process that works.

    With a method `facts() -> dict`, what it gives goes into the part's summary; under `arithmetic`
    {network: {engine, precision, cosine, speed, note}}, which the run's provenance shows.
    """

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Any:
        """One decoded RGB picture (height, width, 3) to what `measure` takes; on decode threads."""

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        """Measure a batch; `rows` holds the columns in `reads` for the same pictures."""


class PictureStage(Stage):
    """A stage that looks at pictures. All stale ones share one reading and decoding of the tar."""

    @property
    def batch(self) -> int:
        """Pictures per call of `measure`."""
        return 64

    @property
    def after(self) -> tuple[str, ...]:
        return ("download",)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Companion arrays `<name>.npy`, float16, shape (rows, dim), zeros where unmeasured."""
        return ()

    @abstractmethod
    def session(self) -> Session:
        """Load the models (through cached loaders)."""
