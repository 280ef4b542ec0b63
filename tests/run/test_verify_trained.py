"""Each file of a trained run, damaged in each way: found, and made again or done without."""

import json
import shutil

import pytest
from lab import Lab
from test_verify import DAMAGE, check

from pipeline.engine.runner import bring_up_to_date, products_of, replan
from pipeline.inspect.report.product import Report
from pipeline.table.part import recorded
from pipeline.table.run import Run
from pipeline.words.errors import DamagedError
from pipeline.words.progress import Lines

pytestmark = pytest.mark.slow

TRAIN = {
    "pretrained_model_name_or_path": None, "resolution": 16, "train_batch_size": 4,
    "max_train_steps": 6, "checkpointing_steps": 2, "log_steps": 2, "lr_warmup_steps": 1,
}  # fmt: skip
SAMPLE = {
    "prompts": ["a cat made of wood", "a ship"], "candidates": 2, "keep": 1, "batch_size": 2,
    "num_inference_steps": 2,
}  # fmt: skip
MADE_AGAIN = (
    "train/model/unet/diffusion_pytorch_model.safetensors", "train/model/unet/config.json",
    "train/model/scheduler/*.json", "train/model/model_index.json", "train/model/training.json",
    "train/train.json", "samples/grid.png", "samples/grid-2-*.png", "samples/samples.jsonl",
    "samples/sample.json", "report.html", "report.json",
)  # fmt: skip
WAYS = {"train/model/": ("flipped", "deleted"), "train/model/unet/d": tuple(DAMAGE)}
"""All model files are treated alike, and each costs a training."""
CASES = [
    (pattern, how)
    for pattern in MADE_AGAIN
    for how in next((w for p, w in reversed(WAYS.items()) if pattern.startswith(p)), DAMAGE)
]
DONE_WITHOUT = {
    "train/done.json": "written again from the model's own notes: nothing is lost",
    "train/log.jsonl": "the losses of this training are lost, the model stands",
    "train/checkpoints/*/step-00000004.pt": "would go on from the state before it",
}
KEPT = ("train/model", "samples/grid.png", "samples/samples.jsonl")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def with_report(no_report):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "of", classmethod(lambda cls, run, job: cls(run, job)))
        yield


@pytest.fixture(scope="module")
def trained(site, tmp_path_factory):
    """A run with a model, pictures and a report."""
    lab = Lab(site, tmp_path_factory.mktemp("trained"))
    lab.run(lab.job(train=TRAIN, sample=SAMPLE))
    return lab


@pytest.fixture
def moved(trained, tmp_path):
    """A copy of it that a test may damage."""
    shutil.copytree(trained.folder / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / "job"
    job = json.loads((folder / "resolved.json").read_text())
    job["output"] = str(tmp_path / "runs")
    (folder / "resolved.json").write_text(json.dumps(job))
    check(Run(folder), tmp_path, mend=True)  # the report names the run's path
    return folder


def content(folder):
    """The bytes of the model and its pictures."""
    files = [p for name in KEPT for p in [folder / name, *(folder / name).rglob("*")]]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.is_file()}


def damage(file, how):
    data = DAMAGE[how](file.read_bytes())
    file.unlink() if data is None else file.write_bytes(data)


def test_a_sound_trained_run_has_no_damage(moved, tmp_path):
    _, answer = check(Run(moved), tmp_path)
    assert answer["damaged"] == []
    for kind, folder in (("train", "train"), ("sample", "samples")):
        assert len(recorded(Run(moved).folder.sub(folder), kind).digests) >= 3


@pytest.mark.parametrize(("pattern", "how"), CASES)
def test_a_damaged_file_is_named_and_made_again(pattern, how, moved, tmp_path):
    before = content(moved)
    (file,) = moved.glob(pattern)
    name = str(file.relative_to(moved))
    damage(file, how)

    assert name in {one["file"] for one in check(Run(moved), tmp_path)[1]["damaged"]}
    _, answer = check(Run(moved), tmp_path, mend=True)

    assert (answer["left"], answer["lost"], answer["mended"]) == ([], [], True)
    assert content(moved) == before
    assert file.exists()


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("pattern", DONE_WITHOUT)
def test_a_damaged_file_that_is_not_worth_a_training_is_done_without(
    pattern, how, moved, tmp_path, monkeypatch
):
    before = content(moved)
    (file,) = moved.glob(pattern)
    name = str(file.relative_to(moved))
    damage(file, how)
    monkeypatch.setattr("train.fit.batch_loss", None)

    assert [one["file"] for one in check(Run(moved), tmp_path)[1]["damaged"]] == [name]
    _, answer = check(Run(moved), tmp_path, mend=True)

    assert [name in line and DONE_WITHOUT[pattern] in line for line in answer["said"]] == [True]
    assert (answer["left"], answer["lost"], answer["mended"]) == ([], [], True)
    assert content(moved) == before


def test_a_damaged_grid_is_drawn_again_without_training_for_new_settings(
    trained, moved, tmp_path, monkeypatch
):
    """The model of the job as it is today would take hours, and was not damaged."""
    job = json.loads((moved / "resolved.json").read_text())
    job["train"]["max_train_steps"] = 8
    (moved / "resolved.json").write_text(json.dumps(job))
    damage(moved / "samples" / "grid.png", "flipped")
    monkeypatch.setattr("train.fit.batch_loss", None)

    _, answer = check(Run(moved), tmp_path, mend=True)

    assert [one["file"] for one in answer["lost"]] == ["samples/grid.png"]
    assert answer["mended"] is False


def test_pictures_are_not_drawn_with_a_damaged_model(moved, tmp_path):
    weights = moved / "train/model/unet/diffusion_pytorch_model.safetensors"
    damage(weights, "flipped")
    (moved / "samples" / "sample.json").unlink()
    plan = replan(Run(moved))
    with (
        (tmp_path / "said.txt").open("w") as stream,
        plan.run.locked(),
        pytest.raises(DamagedError, match=r"safetensors was cut or changed from outside"),
    ):
        bring_up_to_date(plan, products_of(plan), Lines(stream))
