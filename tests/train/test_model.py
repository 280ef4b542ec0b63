"""Model folders: finding, loading, saving, and invalid ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from pipeline.config.training import SampleConfig, TrainConfig
from pipeline.words.errors import InputError
from train.folder import digest, resolve
from train.model import from_scratch, load, save
from train.text import ClipText, remembered


@pytest.fixture
def small(tmp_path: Path, pictures: torch.Tensor) -> Path:
    model = from_scratch(16, pictures, ClipText("winnow-tiny"))
    save(model, model.unet.state_dict(), tmp_path / "small", {"steps": 0})
    return tmp_path / "small"


def test_a_saved_small_model_is_loaded_unchanged(small: Path, pictures: torch.Tensor) -> None:
    model = load(small)
    assert model.latent_shape == (48, 4, 4)
    assert model.prediction_type == "sample"
    saved = from_scratch(16, pictures, ClipText("winnow-tiny")).unet.state_dict()
    for name, value in model.unet.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, saved[name].half().float())


def test_a_saved_folder_does_not_contain_the_path_of_its_base(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "elsewhere")
    for name, base in (("first", small), ("second", copy)):
        model = load(base)
        save(model, model.unet.state_dict(), tmp_path / name, {})
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_weights_in_the_package_stay_small(small: Path) -> None:
    assert sum(p.stat().st_size for p in small.rglob("*")) < 10e6


def test_a_changed_text_encoder_is_refused(small: Path) -> None:
    index = json.loads((small / "model_index.json").read_text())
    index["text_encoder"]["digest"] = "0" * 64
    (small / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="was trained with winnow-tiny 000000000000, but"):
        load(small)


def test_the_digest_depends_on_content_and_not_on_the_path(
    stable_diffusion: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(stable_diffusion, tmp_path / "copy")
    assert digest(copy) == digest(stable_diffusion)
    (copy / "README.md").write_text("a note")
    assert digest(copy) == digest(stable_diffusion)
    with (copy / "vae/config.json").open("a") as file:
        file.write("\n")
    assert digest(copy) != digest(stable_diffusion)


@pytest.mark.parametrize("name", ["/nowhere/model", "nowhere", "./no/where", "a/b/c"])
def test_a_missing_folder_is_refused_with_the_offline_choice(name: str) -> None:
    with pytest.raises(InputError, match=r"no model folder .* use winnow-base \(packaged\)"):
        resolve(name)


def test_a_hub_name_without_a_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"nobody/no-such-model/model_index\.json is neither in"):
        resolve("nobody/no-such-model")


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_a_missing_file_is_named(stable_diffusion: Path, tmp_path: Path, file: str) -> None:
    copy = shutil.copytree(stable_diffusion, tmp_path / "copy")
    (copy / file).unlink()
    with pytest.raises(InputError, match=f"copy/{file} is missing"):
        resolve(copy)


@pytest.mark.parametrize(
    ("index", "reason"),
    [(None, "is no model"), ("{", "is not JSON"), ('{"_class_name": "Flux"}', "names 'Flux'")],
)
def test_a_folder_of_another_kind_is_refused(
    tmp_path: Path, index: str | None, reason: str
) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(InputError, match=reason):
        resolve(tmp_path)


def test_captions_are_encoded_once_and_the_oldest_evicted() -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> torch.Tensor:
        asked.append(list(texts))
        return torch.tensor([[float(len(text))] for text in texts])

    remember = remembered(encode, at_once=2, limit=2)
    assert remember(["a", "bb", "a"]).flatten().tolist() == [1, 2, 1]
    assert remember(["ccc", "a"]).flatten().tolist() == [3, 1]
    assert remember(["bb"]).flatten().tolist() == [2]
    assert asked == [["a", "bb"], ["ccc"], ["bb"]]


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="text_encoder only applies from scratch"):
        TrainConfig(text_encoder="winnow-tiny")
    with pytest.raises(ValidationError, match=r"keep \(9\) is more than candidates \(4\)"):
        SampleConfig(candidates=4)
    with pytest.raises(ValidationError, match="prompts must not be blank"):
        SampleConfig(prompts=("a cat", " "))
