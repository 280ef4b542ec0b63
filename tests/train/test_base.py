"""The packaged base model, and the drawn export that it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.world import Scene, caption, parse_caption
from pipeline.models.clip import load_clip
from train.data import open_export, read_shards
from train.demo.base import write_drawn_export
from train.demo.base_quality import draw
from train.demo.clip_quality import accuracy_by_captions
from train.folder import PACKAGED, resolve


@pytest.mark.slow
def test_winnow_base_draws_held_out_compositions() -> None:
    scenes = [Scene("kangaroo", "cheese", "hill")] * 4 + [Scene("fish", "wood", "sea")] * 4
    pictures = draw(Path("winnow-base"), [caption(scene) for scene in scenes], seed=0)
    assert pictures.shape == (8, 64, 64, 3)
    clip = load_clip("winnow-tiny")
    images = clip.encode_images(np.stack([clip.preprocess(p) for p in pictures]))
    read = accuracy_by_captions(
        images.astype(np.float32),
        scenes,
        lambda texts: clip.encode_texts(list(texts)).astype(np.float32),
        clip.logit_scale,
    )
    assert read["subject"] >= 0.75
    assert read["material"] >= 0.75
    assert read["place"] >= 0.75


def test_winnow_base_is_small_and_contains_no_local_path() -> None:
    folder = resolve("winnow-base")
    assert folder == PACKAGED["winnow-base"]
    assert 1e6 < sum(path.stat().st_size for path in folder.rglob("*")) < 10e6
    texts = [path.read_text() for path in folder.rglob("*.json")]
    assert ["_name_or_path" in text for text in texts] == [False] * len(texts) != []


@pytest.mark.slow
def test_the_drawn_export_shows_no_held_out_composition(tmp_path: Path) -> None:
    export = write_drawn_export(tmp_path, rows=200, seed=3, processes=1)
    scenes = [parse_caption(sample.caption) for sample in read_shards(open_export(export).shards)]
    assert len(scenes) == 200
    assert all(scene is not None and not scene.held_out for scene in scenes)


def test_a_drawn_export_is_written_once(tmp_path: Path) -> None:
    export = write_drawn_export(tmp_path, rows=3, seed=3, processes=1)
    before = (export / "00000.tar").stat().st_mtime_ns
    write_drawn_export(tmp_path, rows=3, seed=3, processes=1)
    assert (export / "00000.tar").stat().st_mtime_ns == before
    other = write_drawn_export(tmp_path, rows=4, seed=3, processes=1)
    assert open_export(other).rows == 4
