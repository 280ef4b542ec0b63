"""The training loop: it learns, resumes exactly, and refuses invalid input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from pipeline.config.training import TrainConfig
from pipeline.words.errors import InputError
from train.fit import ema_decay, fit, rate_factor
from train.folder import digest
from train.model import load
from train.origin import fingerprint, resolution_and_rate, trajectory_fingerprint

pytestmark = pytest.mark.slow

TINY = {
    "resolution": 16,
    "train_batch_size": 4,
    "max_train_steps": 12,
    "checkpointing_steps": 4,
    "log_steps": 2,
    "lr_warmup_steps": 2,
}
SCRATCH = TrainConfig(pretrained_model_name_or_path=None, **TINY)


@pytest.fixture(scope="module")
def undisturbed(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("undisturbed")
    fit(export, out, SCRATCH)
    return out


def log_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_logs_it(undisturbed: Path) -> None:
    lines = log_of(undisturbed)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(line["img_per_s"] > 0 and line["lr"] > 0 for line in lines)


def test_a_second_call_does_no_work(export: Path, undisturbed: Path) -> None:
    weights = undisturbed / "model/unet/diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    calls: list[int] = []
    faster = SCRATCH.model_copy(update={"dataloader_threads": 1, "checkpointing_steps": 5})
    model = fit(export, undisturbed, faster, lambda step, *_: calls.append(step))
    assert (calls, weights.stat().st_mtime_ns) == ([], before)
    assert model == undisturbed / "model"


def test_a_training_killed_and_called_again_ends_with_the_same_weights(
    export: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, torch
        torch.set_num_threads(1)
        from pathlib import Path
        from pipeline.config.training import TrainConfig
        from train.fit import fit
        def die(step, total, figures):
            if step == 10:
                os.kill(os.getpid(), signal.SIGKILL)
        config = TrainConfig.model_validate_json({SCRATCH.model_dump_json()!r})
        fit(Path({str(export)!r}), Path({str(out)!r}), config, die)
        """)
    )
    ended = subprocess.run([sys.executable, script], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (out / "done.json").exists()

    seen: list[int] = []
    fit(export, out, SCRATCH, lambda step, *_: seen.append(step))
    assert seen == [10, 12], "it continues from the checkpoint at step 8"
    assert digest(out / "model") == digest(undisturbed / "model")
    assert [line["step"] for line in log_of(out)] == [2, 4, 6, 8, 10, 12]


def test_a_damaged_checkpoint_is_not_gone_on_from(
    export: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The state before it is, that is said, and the weights are those of a whole training."""
    fit(export, tmp_path, SCRATCH)
    (tmp_path / "done.json").write_bytes(b"")
    (newest,) = tmp_path.glob("checkpoints/*/step-00000008.pt")
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    seen: list[int] = []
    said: list[str] = []
    fit(export, tmp_path, SCRATCH, lambda step, *_: seen.append(step), said.append)
    assert seen == [6, 8, 10, 12]
    assert said == [
        f"train: {newest} was cut or changed from outside and is not used; "
        "training goes on from step 4"
    ]
    assert digest(tmp_path / "model") == digest(undisturbed / "model")


def test_a_model_whose_files_were_changed_is_trained_again(export: Path, tmp_path: Path) -> None:
    short = SCRATCH.model_copy(update={"max_train_steps": 2})
    model = fit(export, tmp_path, short)
    (model / "unet/config.json").write_text("{}")
    seen: list[int] = []
    fit(export, tmp_path, short, lambda step, *_: seen.append(step))
    assert seen == [2]


def test_a_longer_training_at_a_constant_rate_continues_from_checkpoints(
    export: Path, tmp_path: Path
) -> None:
    constant = SCRATCH.model_copy(update={"lr_scheduler": "constant", "max_train_steps": 6})
    fit(export, tmp_path, constant)
    seen: list[int] = []
    longer = constant.model_copy(update={"max_train_steps": 8})
    fit(export, tmp_path, longer, lambda step, *_: seen.append(step))
    assert seen == [6, 8], "steps 1 to 4 are not repeated"


def test_fingerprints_depend_on_what_changes_the_weights(export: Path) -> None:
    from train.data import open_export

    data = open_export(export)
    same = SCRATCH.model_copy(update={"log_steps": 1, "dataloader_threads": 7})
    other = SCRATCH.model_copy(update={"seed": 1})
    assert fingerprint(same, data, "b") == fingerprint(SCRATCH, data, "b")
    assert fingerprint(other, data, "b") != fingerprint(SCRATCH, data, "b")
    assert fingerprint(SCRATCH, data, "c") != fingerprint(SCRATCH, data, "b")
    longer = SCRATCH.model_copy(update={"max_train_steps": 13})
    trajectories = {trajectory_fingerprint(config, data, "b") for config in (SCRATCH, longer)}
    assert len(trajectories) == 2, "a cosine schedule depends on its last step"


def test_accumulated_batches_make_one_update(export: Path, tmp_path: Path) -> None:
    config = SCRATCH.model_copy(
        update={"gradient_accumulation_steps": 2, "max_train_steps": 2, "log_steps": 1}
    )
    fit(export, tmp_path, config)
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]


def test_a_diverging_loss_stops_the_run_and_says_what_to_change(
    export: Path, tmp_path: Path
) -> None:
    config = SCRATCH.model_copy(
        update={"learning_rate": 1e30, "lr_warmup_steps": 0, "max_grad_norm": 1e30}
    )
    with pytest.raises(InputError, match=r"diverged at step .* lower train\.learning_rate"):
        fit(export, tmp_path, config)
    assert not (tmp_path / "done.json").exists()


def test_training_a_stable_diffusion_folder_gives_such_a_folder(
    export: Path, stable_diffusion: Path, tmp_path: Path
) -> None:
    from train.libraries import diffusers

    config = TrainConfig(
        pretrained_model_name_or_path=str(stable_diffusion),
        **{**TINY, "max_train_steps": 2, "train_batch_size": 2},
    )
    model = fit(export, tmp_path, config)
    assert load(model).prediction_type == "epsilon"
    pipe = diffusers().StableDiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a cat", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (16, 16, 3)
    assert digest(model / "unet") != digest(stable_diffusion / "unet")
    assert digest(model / "vae") == digest(stable_diffusion / "vae")


def test_null_settings_take_the_values_of_the_base_model(stable_diffusion: Path) -> None:
    scratch = TrainConfig(pretrained_model_name_or_path=None)
    assert resolution_and_rate(scratch) == (64, 1e-3)
    latent = TrainConfig(pretrained_model_name_or_path=str(stable_diffusion))
    assert resolution_and_rate(latent) == (16, 1e-5)
    given = latent.model_copy(update={"resolution": 32, "learning_rate": 0.1})
    assert resolution_and_rate(given) == (32, 0.1)


def test_the_rate_warms_up_holds_and_falls() -> None:
    config = SCRATCH.model_copy(
        update={"max_train_steps": 100, "lr_warmup_steps": 10, "lr_flat_fraction": 0.5}
    )
    rates = [rate_factor(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:50] == pytest.approx([1.0] * 41)
    assert rates[75] == pytest.approx(0.51, abs=0.01)
    assert rates[99] == pytest.approx(0.02, abs=0.01)
    constant = config.model_copy(update={"lr_scheduler": "constant"})
    assert rate_factor(constant, 99) == 1


def test_the_moving_average_forgets_the_initial_weights() -> None:
    assert ema_decay(SCRATCH, 0) == pytest.approx(0.1)
    assert ema_decay(SCRATCH, 190) == pytest.approx(0.955)
    assert ema_decay(SCRATCH, 10**6) == SCRATCH.ema_decay
