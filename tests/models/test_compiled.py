"""Networks in OpenVINO: the same answers, converted once, and the precision that a job gets."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.sections import EmbedConfig
from pipeline.models import clip_compiled, compiled, precision
from pipeline.models.clip import Clip, load_clip
from pipeline.models.clip_compiled import CompiledClip, clip_of, embedder
from pipeline.models.drawn import drawn_pictures, drawn_texts
from pipeline.models.precision import Choice
from pipeline.words.errors import InputError

TEXTS = [*drawn_texts(40), "a", "a", "", "!"]


@pytest.fixture(scope="session")
def common(tmp_path_factory) -> Path:
    """What one test converts, others need not."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _in_common(common: Path, monkeypatch) -> None:
    clip_compiled._compiled_clip.cache_clear()
    monkeypatch.setenv("WINNOW_CACHE", str(common))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def families(tmp_path_factory) -> dict[str, Clip]:
    """Small models with random weights, of the kinds of tower that open_clip has."""
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file

    vit = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    cases = {
        "ViT": {"embed_dim": 32, "vision_cfg": vit, "text_cfg": text},
        "ViT, QuickGELU": {
            "embed_dim": 32, "quick_gelu": True, "vision_cfg": vit, "text_cfg": text,
        },
        "ResNet": {
            "embed_dim": 32, "text_cfg": text,
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        },
        "SigLIP": {
            "embed_dim": 32, "init_logit_bias": -10, "custom_text": True,
            "vision_cfg": vit | {"pool_type": "avg"},
            "text_cfg": text | {"no_causal_mask": True, "pool_type": "last"},
        },
    }  # fmt: skip
    found = {}
    for name, model in cases.items():
        folder = tmp_path_factory.mktemp("clip")
        settings = {"model_cfg": model, "preprocess_cfg": {"size": [64, 64]}}
        (folder / "open_clip_config.json").write_text(json.dumps(settings))
        torch.manual_seed(0)
        network = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        weights = {k: v.contiguous() for k, v in network.state_dict().items()}
        save_file(weights, folder / "open_clip_model.safetensors")
        found[name] = load_clip(str(folder))
    return found


def seen(clip: Clip) -> np.ndarray:
    return np.stack([clip.preprocess(picture) for picture in drawn_pictures(20, clip.image_size)])


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float32), b.astype(np.float32)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


@pytest.mark.parametrize("family", ["ViT", "ViT, QuickGELU", "ResNet", "SigLIP"])
def test_compiled_towers_give_the_vectors_of_open_clip(families, family):
    plain = families[family]
    own = CompiledClip(plain, "fp32", 0.999, "job")
    assert least_cosine(own.encode_images(seen(plain)), plain.encode_images(seen(plain))) > 0.999999
    assert least_cosine(own.encode_texts(TEXTS), plain.encode_texts(TEXTS)) > 0.999999
    assert least_cosine(own.encode_texts(["one"]), plain.encode_texts(["one"])) > 0.999999
    only = Choice("OpenVINO", "fp32")
    assert own.choices == {"image": only, "text": only}


@pytest.mark.parametrize("family", ["ViT", "ResNet", "SigLIP"])
def test_int8_is_near_to_fp32(families, family):
    plain = families[family]
    own = CompiledClip(plain, "int8", 0.999, "job")
    assert least_cosine(own.encode_images(seen(plain)), plain.encode_images(seen(plain))) > 0.97
    assert least_cosine(own.encode_texts(TEXTS), plain.encode_texts(TEXTS)) > 0.98


def test_what_was_converted_is_not_again(families, cache, monkeypatch):
    plain = families["ViT"]
    first = CompiledClip(plain, "int8", 0.999, "job").encode_images(seen(plain))
    stands = {path.name for path in cache.iterdir()}
    assert sorted(name.rpartition("-")[2] for name in stands if "." not in name) == ["fp32", "int8"]
    monkeypatch.setattr(compiled, "_convert", None)
    again = CompiledClip(plain, "int8", 0.9, "another job").encode_images(seen(plain))
    assert (first == again).all()
    CompiledClip(plain, "bf16", 0.9, "another job").encode_images(seen(plain))
    assert {path.name for path in cache.iterdir()} == stands


def test_what_a_killed_process_left_is_removed_by_the_next(families, cache):
    plain = families["ViT"]
    CompiledClip(plain, "fp32", 0.999, "job").encode_images(seen(plain))
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    (folder / "model.xml").unlink()
    folder.rename(cache / f"{folder.name}.abc")
    CompiledClip(plain, "fp32", 0.999, "job").encode_images(seen(plain))
    assert [path for path in cache.iterdir() if path.is_dir()] == [folder]


def test_auto_takes_what_agrees_and_all_processes_of_a_job_the_same(families, cache, monkeypatch):
    plain, asked = families["ViT"], []

    def seconds(network, inputs):
        asked.append(network)
        return 1 / len(asked)  # each is twice as fast as the one before

    monkeypatch.setattr(precision, "_seconds", seconds)
    own = CompiledClip(plain, "auto", 0.9, "job")
    own.encode_images(seen(plain))
    choice = own.choices["image"]
    assert (choice.engine, choice.precision) == ("OpenVINO", "int8")
    assert 0.9 < choice.cosine < 1
    assert choice.speed == len(asked)
    again = CompiledClip(plain, "auto", 0.9, "job")
    again.encode_images(seen(plain)[:1])
    assert again.choices == own.choices
    before = len(asked)
    strict = CompiledClip(plain, "auto", 1.0, "job")
    strict.encode_images(seen(plain))
    assert strict.choices["image"].precision == "fp32"
    assert len(asked) > before


def test_what_cannot_be_converted_runs_in_pytorch_and_says_so(families, cache, monkeypatch):
    plain = families["ViT"]

    def broken(network):
        raise compiled.ConversionError("NotImplementedError: aten::odd")

    monkeypatch.setattr(compiled, "_exported", broken)
    own = CompiledClip(plain, "auto", 0.999, "job")
    assert (own.encode_images(seen(plain)) == plain.encode_images(seen(plain))).all()
    choice = own.choices["image"]
    assert (choice.engine, choice.precision) == ("PyTorch", "fp32")
    assert choice.note.startswith("OpenVINO does not convert the image tower of ")
    assert choice.note.endswith("(NotImplementedError: aten::odd); it runs in PyTorch")
    with pytest.raises(InputError, match=r"embed.precision: OpenVINO does not convert the text"):
        CompiledClip(plain, "int8", 0.999, "job").encode_texts(TEXTS)


def test_small_models_stay_in_pytorch():
    config = EmbedConfig(model="winnow-tiny")
    assert embedder(config, "job") is clip_of(config) is load_clip("winnow-tiny")
    assert embedder(EmbedConfig(model="winnow-tiny", precision="bf16"), "job").precision == "bf16"
    small = EmbedConfig(model="winnow-tiny", precision="int8")
    assert isinstance(embedder(small, "job"), CompiledClip)


def test_the_cache_is_where_it_is_usual(tmp_path, cache, monkeypatch):
    assert compiled.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("WINNOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiled.cache_folder() == tmp_path / "xdg" / "winnow"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "file"))
    own = compiled.cache_folder()
    assert own.is_dir()
    assert own.parent != tmp_path
    note = precision.facts_of(Choice("OpenVINO", "int8"))["note"]
    assert note.startswith(f"{tmp_path / 'file'} cannot be written to (File exists), so that each")
    assert precision.facts_of(Choice("PyTorch", "fp32"))["note"] == ""


def test_nothing_reports_to_anyone():
    """Asked in another process: within pytest NNCF reports nothing anyhow."""
    code = (
        "from pipeline.models.compiled import openvino; openvino(); import sys\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "import nncf.telemetry.wrapper as w\n"
        "assert isinstance(w.telemetry, w.NNCFTelemetryStub)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawn_pictures_and_texts_are_the_same_each_time():
    first, again = (np.stack(list(drawn_pictures(9, 40))) for _ in range(2))
    assert (first == again).all()
    assert first.shape == (9, 40, 40, 3)
    assert first.std(axis=(1, 2, 3)).min() > 5
    assert drawn_texts(3) == drawn_texts(3)
    assert {len(text.split()) > 0 for text in drawn_texts(50)} == {True}
