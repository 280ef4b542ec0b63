"""From a run of the pipeline to a trained model and its pictures; what stands is not done again.

Nothing here imports torch unless there is work to do.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.job import Job
from pipeline.config.training import SampleConfig, TrainConfig
from pipeline.errors import InputError
from pipeline.models.clip import check_clip, clip_digest
from pipeline.run import Run
from pipeline.sql import names_in
from pipeline.table import digest_of
from train.folder import base_digest

UNSAFE = ("nsfw", "graphic")
"""Reasons whose rules name the judges of drawn pictures."""


def check(job: Job) -> None:
    """InputError before any work if a model that training or sampling needs is out of reach."""
    if job.train is not None:
        base_digest(job.train)
    if job.sample is not None:
        check_clip(job.sample.rerank_model, job.sample.rerank_pretrained)
        if job.train is None:
            raise InputError("sample: needs a trained model; add a `train:` section")


def foresee(job: Job, run: Run, exported: bool) -> list[dict[str, Any]]:
    """`train` and `sample` as `winnow plan` lists stages; `exported`: the export stands."""
    rows = []
    ready, waits = exported, "waits for the export"
    if job.train is not None:
        stands = ready and _stands(Path(run.folder.path("train")), _train_mark(run, job.train))
        rows.append(_foreseen("train", stands, ready, waits))
        ready, waits = stands, "waits for the model"
    if job.sample is not None:
        folder = Path(run.folder.path("samples"))
        stands = ready and _stands(folder, _sample_mark(job, run, job.sample))
        rows.append(_foreseen("sample", stands, ready, waits))
    return rows


def _foreseen(stage: str, stands: bool, ready: bool, waits: str) -> dict[str, Any]:
    why = "stands" if stands else "export, model or settings changed" if ready else waits
    return {"stage": stage, "todo": 0 if stands else 1, "shards": None, "why": why}


def train(job: Job, run: Run) -> Path:
    """Train on the run's export; the model's folder, `train/model`."""
    config = job.train
    assert config is not None
    root = Path(run.folder.path("train"))
    mark = _train_mark(run, config)
    if _stands(root, mark) and (root / "model").is_dir():
        return root / "model"
    from train.fit import fit

    export = Path(run.folder.path(run.state["export"]["folder"]))
    model = fit(export, root, config, _Progress("train"))
    run.folder.write("train/handover.json", json.dumps({"mark": mark}).encode())
    return model


def sample(job: Job, run: Run, prompts: tuple[str, ...]) -> dict[str, Any]:
    """Draw, rerank and lay out; paths of `grid` and `samples`."""
    config = job.sample
    assert config is not None
    config = config.model_copy(update={"prompts": prompts})
    model = Path(run.folder.path("train/model"))
    if not model.is_dir():
        raise InputError(f"{run.folder.url} has no trained model; `winnow train` makes one")
    out = Path(run.folder.path("samples"))
    answer = {"grid": str(out / "grid.png"), "samples": str(out / "samples.jsonl")}
    mark = _sample_mark(job, run, config)
    if _stands(out, mark) and all(Path(path).is_file() for path in answer.values()):
        return answer
    from train.judges import load_judges
    from train.sample import sample as draw

    judges = load_judges(job, judge_names(job))
    draw(model, out, config, _export_fingerprint(run), _Progress("sample"), judges)
    run.folder.write("samples/handover.json", json.dumps({"mark": mark}).encode())
    return answer


def judge_names(job: Job) -> tuple[str, ...]:
    """Measurements that the job's nsfw and graphic rules read, of those a drawn picture has."""
    available = [head.name for head in job.images.heads]
    if job.images.nsfw:
        available.append("punsafe")
    named: set[str] = set()
    for i, rule in enumerate(job.rules or ()):
        if rule.reason in UNSAFE:
            named |= names_in(rule.when, f"rules[{i}].when")
    return tuple(name for name in available if name in named)


def _export_fingerprint(run: Run) -> str:
    name = f"{run.state['export']['folder']}/manifest.json"
    return str(json.loads(run.folder.read(name))["fingerprint"])


def _train_mark(run: Run, config: TrainConfig) -> str:
    return digest_of([config.recipe(), base_digest(config), _export_fingerprint(run)])


def _sample_mark(job: Job, run: Run, config: SampleConfig) -> str:
    clip = clip_digest(config.rerank_model, config.rerank_pretrained)
    trained = run.folder.read("train/done.json").decode()
    heads = [head.recipe() for head in job.images.heads]
    return digest_of([config.recipe(), clip, trained, judge_names(job), heads])


def _stands(folder: Path, mark: str) -> bool:
    try:
        said = json.loads((folder / "handover.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return bool(said.get("mark") == mark)


class _Progress:
    """Lines on stderr, at most one in a few seconds."""

    def __init__(self, name: str) -> None:
        self._name, self._begin, self._told = name, time.monotonic(), 0.0

    def __call__(self, done: int, total: int, facts: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if done < total and now - self._told < 5:
            return
        self._told = now
        left = (now - self._begin) / max(done, 1) * (total - done)
        shown = "".join(f", {key} {value:.3g}" for key, value in (facts or {}).items())
        print(f"{self._name}: {done} of {total}, {left:.0f} s left{shown}", file=sys.stderr)
