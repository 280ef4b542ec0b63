"""The model and its pictures as products of a run: what is up to date is not made again.

Nothing here imports torch unless there is work to do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.job import Job
from pipeline.config.training import SampleConfig, TrainConfig
from pipeline.engine.product import Made, Single, Status, Work, digest_in
from pipeline.export.finish import Manifest
from pipeline.models.clip import check_clip, clip_digest
from pipeline.models.heads.registry import heads_of
from pipeline.table.checked import damage_line, damaged_files
from pipeline.table.part import file_digest, recorded
from pipeline.table.run import Run
from pipeline.table.sql import names_in
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.extras import need_extra
from pipeline.words.progress import Reporter
from train import healing
from train.folder import base_digest
from train.healing import LOG, MARKER, TRAIN

UNSAFE = ("nsfw", "graphic")
"""Reasons whose rules say which measurements judge drawn pictures."""


class _Local(Single):
    """A product whose libraries need local paths."""

    def check(self) -> None:
        need_extra(self.name, "train", "diffusers", "transformers")
        if not self.run.folder.is_local:
            raise InputError(f"{self.name}: needs a run folder on a local disk; set `output`")

    @property
    def root(self) -> Path:
        return Path(self.run.folder.path(self.place))

    def files(self, *names: str) -> list[str]:
        """Files, and those in folders, relative to the product's own folder."""
        found = []
        for path in (self.root / name for name in names):
            found += [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        return sorted(str(path.relative_to(self.root)) for path in found)


class Train(_Local):
    """`train/model`: the job's diffusion model, trained on the export."""

    name = TRAIN
    rank = 10
    place = TRAIN

    @classmethod
    def of(cls, run: Run, job: Job) -> "Train | None":
        return cls(run, job) if job.train is not None else None

    @property
    def config(self) -> TrainConfig:
        assert self.job.train is not None
        return self.job.train

    def check(self) -> None:
        super().check()
        base_digest(self.config)

    def recipe(self) -> dict[str, Any]:
        return {"settings": self.config.recipe(), "base": base_digest(self.config)}

    def inputs(self, before: Mapping[str, Status]) -> dict[str, str | None]:
        return {"export": digest_in(before, "export")}

    def produce(self, work: Work) -> Made:
        from train.fit import fit

        folder = self.run.state["products"]["export"]["folder"]
        progress, say = _Progress(self.name, work.reporter), work.reporter.say
        fit(Path(self.run.folder.path(folder)), self.root, self.config, progress, say)
        manifest = Manifest.read(self.run.folder.sub(folder))
        rows = int(manifest.values["rows"]) if manifest is not None else 0
        # A damaged log must not make the model stale, so it is not one of its files.
        log = self.root / LOG
        sums = {LOG: file_digest(log)} if log.is_file() else {}
        return Made(self.files("model", MARKER), rows, {"steps": progress.done, **sums})

    def paths(self) -> dict[str, str]:
        return {"model": str(self.root / "model")}

    @classmethod
    def damage(cls, run: Run) -> dict[str, str]:
        return healing.damage(run)

    @classmethod
    def heal(cls, run: Run, file: str) -> str | None:
        return healing.heal(run, file)

    @classmethod
    def holding(cls, run: Run, uids: Sequence[str]) -> dict[str, Any]:
        return {"model": True} if uids and run.folder.exists("train/model") else {}

    @classmethod
    def erasure_notes(cls, held: Mapping[str, Any]) -> list[str]:
        if not held:
            return []
        return [
            "train/ and samples/ stay as they are: rows cannot be removed from a trained model. "
            "`winnow train` makes one without these rows; then remove what was made before"
        ]


class Sample(_Local):
    """`samples/`: pictures that the model drew, judged and ranked, on a sheet."""

    name = "sample"
    rank = 20
    place = "samples"

    @classmethod
    def of(cls, run: Run, job: Job) -> "Sample | None":
        return cls(run, job) if job.sample is not None else None

    @property
    def config(self) -> SampleConfig:
        assert self.job.sample is not None
        return self.job.sample

    def check(self) -> None:
        super().check()
        check_clip(self.config.rerank_model, self.config.rerank_pretrained)
        if self.job.train is None:
            raise InputError("sample: needs a trained model; add a `train:` section")

    def recipe(self) -> dict[str, Any]:
        return {
            "settings": self.config.recipe(),
            "clip": clip_digest(self.config.rerank_model, self.config.rerank_pretrained),
            "judges": judge_names(self.job),
            "heads": [head.recipe() for head in self.job.images.heads],
        }

    def inputs(self, before: Mapping[str, Status]) -> dict[str, str | None]:
        return {"train": digest_in(before, "train")}

    def produce(self, work: Work) -> Made:
        from train.judges import load_judges
        from train.sample import sample

        folder = self.run.folder.sub(Train.place)
        record = recorded(folder, Train.name)
        if record and (name := next(damaged_files(folder, record.digests), None)) is not None:
            raise DamagedError(damage_line(self.run.folder.url, folder.path(name)))
        model = Path(folder.path("model"))
        progress = _Progress(self.name, work.reporter)
        judges = load_judges(self.job, judge_names(self.job))
        export = work.statuses["export"].content
        sample(model, self.root, self.config, export, progress, judges)
        drawn = len((self.root / "samples.jsonl").read_text(encoding="utf-8").splitlines())
        sheets = sorted(path.name for path in self.root.glob("grid*.png"))
        return Made(self.files(*sheets, "samples.jsonl"), drawn)

    def paths(self) -> dict[str, str]:
        return {"grid": str(self.root / "grid.png"), "samples": str(self.root / "samples.jsonl")}


def judge_names(job: Job) -> tuple[str, ...]:
    """The measurements of drawn pictures that the job's nsfw and graphic rules read.

    A drawn picture has no caption, so heads of captions judge none.
    """
    available = [head.column for head in heads_of(job) if head.config.of == "image"]
    if job.images.nsfw:
        available.append("punsafe")
    named: set[str] = set()
    for i, rule in enumerate(job.rules or ()):
        if rule.reason in UNSAFE:
            named |= names_in(rule.when, f"rules[{i}].when")
    return tuple(name for name in available if name in named)


class _Progress:
    """Reports steps or pictures done to a reporter."""

    def __init__(self, name: str, reporter: Reporter) -> None:
        self._name, self._reporter, self.done = name, reporter, 0
        self._started = False

    def __call__(self, done: int, total: int, facts: Mapping[str, float] | None = None) -> None:
        if not self._started:
            # Steps done before a resume, and the first few steps, are not part of the rate.
            self._started, self.done = True, done if done < total else 0
            self._reporter.start(self._name, total, self.done, "steps")
        shown = ", ".join(f"{key} {value:.3g}" for key, value in (facts or {}).items())
        self._reporter.advance(self._name, done - self.done, shown)
        self.done = done
