"""CLIP: the same vectors as open_clip's own, only faster; errors that say what to do next."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.demo.world import caption, draw_many
from pipeline.models.clip import check_clip, clip_digest, load_clip
from pipeline.models.clip_names import model_names, pretrained_tags
from pipeline.models.clip_source import tiny_folder
from pipeline.models.clip_text import pooled_texts, used_lengths
from pipeline.words.errors import InputError
from train.demo.clip_quality import (
    accuracy_by_captions,
    accuracy_by_prompts,
    auc_of_graphic,
    auc_of_mismatches,
)

TEXTS = [
    "a cat",
    "we saw this cheese kangaroo under a night sky today",
    "!",
    "wow! a cat! made of wool!",
    "",
    "a very long caption that goes on and on " * 9,
    "ein Känguru aus Käse 🧀",
]


@pytest.fixture(scope="module")
def clip():
    torch.set_num_threads(2)
    return load_clip("winnow-tiny")


@pytest.fixture(scope="module")
def world():
    return draw_many(200, seed=4242, held_out=True)


@pytest.fixture
def copy(tmp_path):
    """A folder of the tiny model that a test may change."""
    return shutil.copytree(tiny_folder(), tmp_path / "model")


def vectors_of(clip, pixels):
    inputs = np.stack([clip.preprocess(p) for p in pixels])
    return clip.encode_images(inputs).astype(np.float32)


def texts_of(clip):
    return lambda texts: clip.encode_texts(texts).astype(np.float32)


def test_the_attributes_of_a_loaded_model(clip):
    assert (clip.name, clip.dim, clip.image_size) == ("winnow-tiny", 128, 64)
    assert (clip.context_length, clip.text_width) == (20, 128)
    assert 5 < clip.logit_scale <= 100.5
    assert clip.digest == clip_digest("winnow-tiny") == clip_digest(str(tiny_folder()))


SHAPES = [(64, 64), (256, 256), (300, 131), (77, 500), (40, 31), (1, 90), (768, 1024)]


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_preprocessing_gives_open_clips_vectors(copy, mode):
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= {"resize_mode": mode, "mean": [0.4, 0.5, 0.6], "std": [0.3] * 3}
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    model = load_clip(str(copy))
    from open_clip import get_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg, image_transform_v2

    theirs = image_transform_v2(PreprocessCfg(**get_model_preprocess_cfg(model._model)), False)
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        ours = model.preprocess(rgb)
        expected = theirs(Image.fromarray(rgb)).numpy()
        assert ours.shape == (3, 64, 64)
        assert ours.dtype == np.float32
        a, b = model.encode_images(np.stack([ours, expected])).astype(np.float32)
        assert a @ b > 0.995, shape


def test_preprocessing_from_several_threads(clip, world):
    pixels = world[0][:40]
    expected = [clip.preprocess(p) for p in pixels]
    found = [None] * len(pixels)

    def work(start):
        for i in range(start, len(pixels), 4):
            found[i] = clip.preprocess(pixels[i])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_vectors_are_normalised_half_floats_in_order(clip, world):
    inputs = np.stack([clip.preprocess(p) for p in world[0][:9]])
    found = clip.encode_images(inputs)
    assert (found.dtype, found.shape) == (np.float16, (9, 128))
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=2e-3)
    one_by_one = np.concatenate([clip.encode_images(x[None]) for x in inputs])
    np.testing.assert_allclose(found, one_by_one, atol=1e-3)
    assert clip.encode_images(inputs[:0]).shape == (0, 128)


def test_trimmed_captions_give_the_vectors_of_untrimmed_ones(clip):
    tokens = clip._tokenizer(TEXTS)
    with torch.inference_mode():
        for row in tokens:
            trimmed = pooled_texts(clip._model, row[None])
            torch.testing.assert_close(
                trimmed, clip._model.encode_text(row[None]), atol=1e-4, rtol=1e-4
            )
        together = pooled_texts(clip._model, tokens)
        torch.testing.assert_close(together, clip._model.encode_text(tokens), atol=1e-4, rtol=1e-4)


def test_an_exclamation_mark_is_not_taken_for_padding(clip):
    tokens = clip._tokenizer(["!) cat !~", "cat"])
    assert (tokens[0, : used_lengths(tokens)[0]] == 0).sum() == 2
    assert used_lengths(tokens).tolist() == [7, 3]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_captions_keep_their_order_whatever_the_batch(clip, batch_size):
    found = clip.encode_texts(TEXTS, batch_size=batch_size)
    one_by_one = np.concatenate([clip.encode_texts([text]) for text in TEXTS])
    assert (found.dtype, found.shape) == (np.float16, (len(TEXTS), 128))
    np.testing.assert_allclose(found, one_by_one, atol=1e-3)
    assert clip.encode_texts([]).shape == (0, 128)


def test_text_states_are_the_towers_last_states(clip):
    kept = []
    hook = clip._model.ln_final.register_forward_hook(lambda *call: kept.append(call[2]))
    with torch.inference_mode():
        clip._model.encode_text(clip._tokenizer(TEXTS))
    hook.remove()
    states = clip.text_states(TEXTS)
    assert states.shape == (len(TEXTS), 20, 128)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, kept[0])
    layer = torch.nn.Linear(128, 1)
    layer(states).sum().backward()
    assert layer.weight.grad is not None


def test_a_model_is_loaded_once():
    assert load_clip("winnow-tiny") is load_clip("winnow-tiny")


def test_the_model_recognises_held_out_compositions(clip, world):
    pixels, scenes = world
    images, embed = vectors_of(clip, pixels), texts_of(clip)
    full = accuracy_by_captions(images, scenes, embed, clip.logit_scale)
    short = accuracy_by_prompts(images, scenes, embed)
    assert full["subject"] >= 0.9, full
    assert full["material"] >= 0.95, full
    assert full["place"] >= 0.97, full
    assert min(short.values()) >= 0.85, short
    mismatches = auc_of_mismatches(images, scenes, embed)
    assert mismatches["any"] >= 0.99, mismatches
    assert auc_of_graphic(images, lambda p: vectors_of(clip, p), embed, 60) >= 0.999
    right = (images * embed([caption(s) for s in scenes])).sum(1)
    assert right.mean() > 0.5


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("Vit-B32", "openai", r"did you mean ViT-B-32"),
        ("winnow-tinny", None, r"did you mean winnow-tiny"),
        ("zzzz", None, r'"zzzz" is neither a folder nor known to open_clip$'),
        (
            "ViT-B-32",
            "laion2b",
            r"neither a weights file nor one of its tags \(.*laion2b_s34b",
        ),
        ("ViT-B-32", None, r'needs "pretrained": a tag \(.*openai.*\) or the path'),
        ("winnow-tiny", "openai", r'remove "pretrained: openai"'),
        ("local-dir:/no/such", None, r"no folder /no/such; .*winnow-tiny"),
        ("ViT-B-32", "openai", r"open_clip_model.safetensors .*HF_HUB_OFFLINE is set.*winnow-tiny"),
        ("hf-hub:a/b", None, r"a/b/open_clip_model.safetensors are not on this machine"),
    ],
)
def test_a_wrong_model_is_refused_before_work(monkeypatch, tmp_path, model, pretrained, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        check_clip(model, pretrained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_an_incomplete_folder_names_the_missing_file(copy, missing):
    (copy / missing).unlink()
    with pytest.raises(InputError, match=rf"model/{missing} is missing; give a local weights file"):
        check_clip(str(copy))


def test_a_pickle_that_would_run_code_is_refused(copy):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(copy / "trapped"),))

    torch.save({"state_dict": Trap()}, copy / "open_clip_pytorch_model.bin")
    (copy / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"do not load \(UnpicklingError.*safetensors"):
        load_clip(str(copy))
    assert not (copy / "trapped").exists()


def test_weights_of_another_shape_are_refused(copy):
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 64
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not load"):
        load_clip(str(copy))


def test_a_digest_depends_on_the_weights_and_the_config(copy):
    before = clip_digest(str(copy))
    weights = copy / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    spoiled = clip_digest(str(copy))
    (copy / "open_clip_config.json").write_text((copy / "open_clip_config.json").read_text() + " ")
    assert len({before, spoiled, clip_digest(str(copy))}) == 3


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="fp32, bf16, fp16"):
        load_clip("winnow-tiny", precision="fp8")


def test_names_and_tags_are_those_that_open_clip_lists():
    import open_clip

    theirs = {(m, t) for m, t in open_clip.list_pretrained()}
    assert {(m, t) for m, tags in pretrained_tags().items() for t in tags} == theirs
    assert set(open_clip.list_models()) <= set(model_names())


def test_the_hubs_cache_is_used_without_a_network(tmp_path):
    """With a cache in the format of the hub's client; then without a cache and without a hub."""
    root = tmp_path / "models--someone--tiny"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc123")
    shutil.copytree(tiny_folder(), root / "snapshots" / "abc123")
    code = """
import sys
from pipeline.words.errors import InputError
from pipeline.models.clip_files import check_clip, clip_digest
check_clip("hf-hub:someone/tiny")
print(clip_digest("hf-hub:someone/tiny"))
try:
    check_clip("hf-hub:someone/else")
except InputError as error:
    print(error)
print("torch" in sys.modules)
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    digest, refusal, torch_imported = ran.stdout.splitlines()
    plain = shutil.copytree(tiny_folder(), tmp_path / "plain", ignore=lambda *_: ["bpe.txt.gz"])
    assert digest == clip_digest(str(plain))
    assert "someone/else/open_clip_model.safetensors" in refusal
    assert "cannot be fetched" in refusal
    assert torch_imported == "False"


def test_torchvision_can_be_imported_with_any_torch():
    code = """
from pipeline.models.torchvision_shim import ensure_torchvision
ensure_torchvision()
ensure_torchvision()
import torchvision, torchvision.ops
ensure_torchvision()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
