"""The job file's model."""

import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Section, tuning
from pipeline.config.captions import CaptionsConfig
from pipeline.config.dedup import DedupConfig
from pipeline.config.download import DownloadConfig
from pipeline.config.sections import (
    ClusterConfig,
    Columns,
    EmbedConfig,
    ExportConfig,
    ImagesConfig,
    InputDialect,
)
from pipeline.config.training import SampleConfig, TrainConfig
from pipeline.words.reasons import check_reason


class Rule(Section):
    """One rule: rows for which `when` is true are dropped with `reason`."""

    reason: str = Field(
        description="A reason of the vocabulary (docs/reasons.md), or `x_` and a name."
    )
    when: str = Field(
        max_length=100_000,  # DuckDB takes seconds, and memory, for a longer one
        description="SQL boolean over the columns, DuckDB's dialect.",
    )
    if_null: Literal["drop", "keep"] = Field(
        "keep", description="What an unknown answer (a null measurement) means."
    )

    @field_validator("reason")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_reason(value)

    @model_validator(mode="after")
    def _duplicate_has_no_null(self) -> "Rule":
        if self.reason == "duplicate" and self.if_null == "drop":
            raise ValueError("`if_null: drop` means nothing for `duplicate`: say so in `when`")
        return self


LONGEST_NAME = 200
"""Bytes of a run folder's name; file systems have at most 255."""
_NO_NAMES: dict[str, Callable[[str], bool]] = {
    "is not blank": lambda name: not name.strip(),
    "has no slash": lambda name: "/" in name or "\\" in name,
    "does not begin with a dot": lambda name: name.startswith("."),
    "has no control characters": lambda name: any(
        unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name
    ),
    "has no `::`, by which stores are nested": lambda name: "::" in name,
    f"has at most {LONGEST_NAME} bytes": lambda name: len(name.encode()) > LONGEST_NAME,
}
"""What the name of a run folder must not be: the words of the error, and the test."""


class Job(Section):
    """One job: from a list of (url, caption) rows to clean shards, a model and a report."""

    input: str | tuple[str, ...] = Field(
        description="CSV, TSV, JSON or Parquet, plain or compressed, WebDataset's tars, or a "
        "folder of pictures (docs/formats.md): a file, a folder or a glob, any fsspec URL; or a "
        "list of them."
    )
    input_format: Literal[
        "auto", "csv", "tsv", "jsonl", "json", "parquet", "webdataset", "imagefolder"
    ] = Field(
        "auto",
        description="Format of the input; `auto`: by the file name. Cells may be quoted in CSV, "
        "not in TSV. `json` is one document: an array of objects, MS COCO's captions, RedCaps' "
        "annotations, or an object of arrays of the same length. `webdataset` is a tar of pictures "
        "and their texts, `imagefolder` a folder of pictures with captions beside them.",
    )
    input_dialect: InputDialect = Field(InputDialect(), description="How CSV and TSV are written.")
    columns: Columns = Field(Columns(), description="Which input column holds what.")
    name: str | None = Field(
        None,
        pattern=r"^[^./\\][^/\\]*$",
        description="Name of the run folder; by default the job file's name. At most 200 bytes, "
        "without slashes and control characters, and no dot as the first.",
    )
    output: str = tuning("runs", "Folder of all runs, any fsspec URL; this run is `output/name`.")
    shard_size: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Rows per shard; another value deals all rows anew.",
    )
    audit_fraction: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the rows left out by an `only_if` that are measured anyway, and "
        "marked `audit`; they are judged as if they had not been measured, so none is kept.",
    )
    captions: CaptionsConfig = Field(CaptionsConfig(), description="Caption measurements.")
    download: DownloadConfig = Field(DownloadConfig(), description="Fetching.")
    embed: EmbedConfig = Field(EmbedConfig(), description="CLIP vectors.")
    images: ImagesConfig = Field(ImagesConfig(), description="Picture measurements.")
    measure: dict[str, dict[str, Any] | None] = Field(
        {}, description="Additional measurements, by name, each with its own section."
    )
    dedup: DedupConfig = Field(DedupConfig(), description="Repeats.")
    rules: tuple[Rule, ...] | None = Field(
        None, description="The rules, in order; null: the default rules (docs/reasons.md)."
    )
    export: ExportConfig = Field(ExportConfig(), description="The kept rows' layout.")
    train: TrainConfig | None = Field(None, description="Fine-tuning; null: none.")
    sample: SampleConfig | None = Field(None, description="Sampling; null: none.")
    cluster: ClusterConfig = tuning(ClusterConfig(), "Where the work runs.")

    @field_validator("name", mode="before")
    @classmethod
    def _names_a_folder(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        what = next((what for what, is_so in _NO_NAMES.items() if is_so(value)), None)
        if what is not None:
            raise ValueError(f"a run folder's name {what}; choose another, or remove the line")
        return value

    def inputs(self) -> tuple[str, ...]:
        return (self.input,) if isinstance(self.input, str) else self.input

    def model_post_init(self, context: Any) -> None:
        if self.images.heads and not self.embed.model:
            raise ValueError(
                "images.heads judge CLIP vectors: set `embed.model`, or remove the heads"
            )
