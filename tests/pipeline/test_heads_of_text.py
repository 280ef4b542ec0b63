"""Templates, temperature and bias of zero-shot heads, heads of captions, and joint safety."""

from pathlib import Path

import numpy as np
import pytest
from planned_run import pairs
from test_heads import Space, made, vectors

from pipeline.api import run
from pipeline.config.load import load_job
from pipeline.config.sections import Head
from pipeline.inspect.query import query
from pipeline.inspect.stats import stats
from pipeline.measure.pictures import heads as stage
from pipeline.models.clip import load_clip
from pipeline.table.run import Run
from pipeline.words.errors import InputError
from train.handover import judge_names

CONFIGS = Path(__file__).parents[2] / "configs"


def zeroshot(**keys) -> Head:
    return Head(name="x", kind="zeroshot", **({"positive": ("p",), "negative": ("n",)} | keys))


def test_a_prompt_with_templates_is_the_mean_of_their_vectors():
    """CLIP's own recipe (Radford et al., 2021, 3.1.4): mean of vectors of length 1, of length 1."""
    clip = load_clip("winnow-tiny")
    texts = [
        "a photo of a cat.",
        "a drawing of a cat.",
        "a photo of a ship.",
        "a drawing of a ship.",
    ]
    every = clip.encode_texts(texts).astype(np.float64)
    means = every.reshape(2, 2, -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found = vectors_of(clip.dim)
    cosines = found.astype(np.float64) @ means.T
    expected = 1 / (1 + np.exp(clip.logit_scale * (cosines[:, 1] - cosines[:, 0])))
    templates = ("a photo of {}.", "a drawing of {}.")
    head = made(zeroshot(positive=("a cat",), negative=("a ship",), templates=templates))
    np.testing.assert_allclose(head.load(clip)(found), expected, atol=1e-4)


def vectors_of(dim: int) -> np.ndarray:
    found = np.random.default_rng(3).normal(size=(7, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_temperature_and_bias():
    prompts, x = vectors(2).astype(np.float16), vectors()
    cosines = x.astype(float) @ prompts.astype(float).T
    head = made(zeroshot(temperature=0.25, bias=-0.5))
    expected = 1 / (1 + np.exp((cosines[:, 1] - cosines[:, 0]) / 0.25 + 0.5))
    np.testing.assert_allclose(head.load(Space(prompts=prompts))(x), expected, atol=1e-5)


@pytest.mark.parametrize("template", ["a photo", "{} and {}"])
def test_a_template_has_one_place_for_the_prompt(template: str):
    with pytest.raises(InputError, match=r"heads\[0\].*places.*write exactly one"):
        made(zeroshot(templates=(template,)))


def test_a_temperature_is_above_zero():
    with pytest.raises(InputError, match=r"heads\[0\].*`temperature`.*greater than 0"):
        made(zeroshot(temperature=0))


def test_new_keys_at_their_defaults_are_no_part_of_the_settings():
    assert made(zeroshot()).settings() == {
        "kind": "zeroshot", "version": 1, "positive": ["p"], "negative": ["n"],
    }  # fmt: skip
    assert made(zeroshot(of="text", bias=1)).settings()["of"] == "text"


def test_a_head_of_captions_judges_their_vectors(plan_run):
    heads = [dict(zeroshot(of=of).settings(), name=of) for of in ("image", "text")]
    planned = plan_run(
        pairs(3), images={"nsfw": None, "heads": heads}, embed={"model": "winnow-tiny"}
    )
    planned.make(*planned.caption_stages)
    planned.commit_part("download", 0, [{"status": "success"}] * 3)
    own = vectors_of(128)[:3]
    planned.commit_vectors(0, own, [0.3] * 3)  # the captions' vectors are these, turned round
    planned.make("heads")
    cells = list(planned.read("heads").values())
    judge = made(zeroshot()).load(load_clip("winnow-tiny"))
    stored = own.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose([row["image"] for row in cells], judge(stored), atol=1e-5)
    np.testing.assert_allclose([row["text"] for row in cells], judge(stored[:, ::-1]), atol=1e-5)


def test_prompts_are_encoded_once_in_a_process_however_many_shards(plan_run, monkeypatch):
    asked: list[str] = []
    clip = load_clip("winnow-tiny")
    encode = type(clip).encode_texts
    monkeypatch.setattr(
        type(clip), "encode_texts", lambda self, t, *a: asked.extend(t) or encode(self, t, *a)
    )
    monkeypatch.setattr(stage, "_judges", type(stage._judges)())
    planned = plan_run(
        pairs(6),
        shard_size=2,
        images={"nsfw": None, "heads": [dict(zeroshot().settings(), name="x")]},
        embed={"model": "winnow-tiny"},
    )
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        planned.commit_part("download", shard, [{"status": "success"}] * 2)
        planned.commit_vectors(shard, vectors_of(128)[:2], [0.3] * 2)
    planned.make("heads")
    assert len(planned.shards) == 3
    assert asked == ["p", "n"]


def graphic(of: str) -> dict:
    """A stand-in for what is unsafe, that the packaged CLIP knows: paint on a wall."""
    negative = [f"a {one}" for one in ("kangaroo", "cat", "ship", "rabbit", "fish", "giraffe")]
    return {
        "name": f"unsafe_{of}", "kind": "zeroshot", "of": of,
        "positive": ["a graphic warning picture"], "negative": negative,
    }  # fmt: skip


@pytest.mark.slow
def test_joint_safety_drops_what_picture_and_caption_call_unsafe(tmp_path: Path):
    """configs/joint-safety.yaml, with a CLIP and prompts for the drawn world."""
    from PIL import Image

    from pipeline.demo.world import Scene, caption, draw, draw_graphic

    rng = np.random.default_rng(0)
    cat = Scene("cat", "wood", "hill")
    harmless, unsafe = caption(cat), "a graphic warning picture"
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = {
        "both": (draw_graphic(rng, 96), unsafe),
        "picture": (draw_graphic(rng, 96), harmless),
        "caption": (draw(cat, rng, 96), unsafe),
        "none": (draw(cat, rng, 96), harmless),
    }
    for name, (pixels, text) in rows.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(text)
    job = load_job(CONFIGS / "joint-safety.yaml")
    values = job.model_dump(mode="json")
    values |= {
        "input": str(folder), "input_format": "imagefolder", "output": str(tmp_path / "runs"),
        "captions": {"toxicity": None, "language": False},
        "download": {"min_image_size": 32, "allow_paths": [str(folder)]},
        "embed": {"model": "winnow-tiny"}, "cluster": {"executor": "inline"},
        "images": {"nsfw": "opennsfw", "heads": [graphic("image"), graphic("text")]},
        # Of the config's rules those of safety alone.
        "rules": [rule for rule in values["rules"] if rule["reason"] == "nsfw"],
    }  # fmt: skip
    assert len(values["rules"]) == 2
    done = run(values, quiet=True)
    table = query(Run(done.folder), "select * from samples").to_pylist()
    found = {Path(row["url"]).stem: row for row in table}
    assert {name: row["reason"] for name, row in found.items()} == {
        "both": "nsfw", "picture": None, "caption": None, "none": None,
    }  # fmt: skip
    scores = {
        name: (row["unsafe_image"] > 0.5, row["unsafe_text"] > 0.5) for name, row in found.items()
    }
    assert scores == {
        "both": (True, True), "picture": (True, False),
        "caption": (False, True), "none": (False, False),
    }  # fmt: skip
    assert stats(Run(done.folder))["conserved"] is True


def test_drawn_pictures_are_judged_by_heads_of_pictures_alone():
    job = load_job(CONFIGS / "joint-safety.yaml")
    assert judge_names(job) == ("unsafe_image", "punsafe")
