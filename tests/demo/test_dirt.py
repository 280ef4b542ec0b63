import io
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from pipeline.demo import phrases
from pipeline.demo.dirt import TRUTH, make_world
from pipeline.demo.kinds import KINDS
from pipeline.demo.pictures import Picture, render
from pipeline.demo.plan import make_plan
from pipeline.demo.world import (
    HELD_OUT,
    MATERIALS,
    PLACES,
    SUBJECTS,
    Scene,
    all_scenes,
    parse_caption,
)
from pipeline.words.reasons import VOCABULARY
from pipeline.words.uid import make_uid

BASE_URL = "http://127.0.0.1:8099"
N = 120
FULL = (200, 400)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    return make_world(folder, BASE_URL, n=N, sides=(96, 128), processes=1)


def decode(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def picture(change: str, form: str = "jpg", path: str = "a.jpg", shape: float = 1.0) -> Picture:
    scene = Scene("cat", "wood", "hill")
    return Picture(path, scene, 7, 160, shape, form, change)  # type: ignore[arg-type]


def test_every_input_row_has_one_truth(world: Path) -> None:
    rows = pq.read_table(world / "rows.parquet").to_pylist()
    truth = pq.read_table(world / "truth.parquet")
    assert truth.schema.equals(TRUTH)
    assert len(rows) == N
    listed = Counter(make_uid(row["url"], row["caption"]) for row in rows)
    expected = {row["uid"]: row["times"] for row in truth.to_pylist()}
    assert truth.num_rows == len(expected)
    assert dict(listed) == expected
    for row in truth.to_pylist():
        assert row["uid"] == make_uid(row["url"], row["caption"])


def test_planted_reasons_are_words_of_the_vocabulary() -> None:
    planted = {kind.reason for kind in KINDS.values()} - {None}
    assert planted - VOCABULARY.keys() == set()
    assert len(planted) >= 25


def test_a_full_plan_has_the_given_number_of_each_kind() -> None:
    plan = make_plan(BASE_URL, 0, 2_000, FULL)
    found = Counter(row.kind for row in plan.rows)
    assert len(plan.order) == 2_000
    for kind in KINDS.values():
        if kind.name not in ("clean", "listed_again"):
            assert found[kind.name] == kind.count, kind.name
    assert sum(row.times - 1 for row in plan.rows) == KINDS["listed_again"].count
    assert found["clean"] > 1_000


def test_plan_depends_on_the_seed_and_on_nothing_else() -> None:
    one, same, other = (make_plan(BASE_URL, seed, 300, FULL) for seed in (3, 3, 4))
    assert one == same
    assert one.rows != other.rows
    moved = make_plan("http://127.0.0.1:9", 3, 300, FULL)
    assert moved.pictures == one.pictures
    assert [row.caption for row in moved.rows] == [row.caption for row in one.rows]


def test_held_out_compositions_are_neither_drawn_nor_named() -> None:
    plan = make_plan(BASE_URL, 1, 2_000, FULL)
    shown = {(p.scene.subject, p.scene.material) for p in plan.pictures if p.scene}
    named = [parse_caption(row.caption) for row in plan.rows if row.caption]
    assert shown & HELD_OUT == set()
    assert [scene for scene in named if scene and scene.held_out] == []
    assert sum(scene is not None for scene in named) > 1_500


def test_repeats_point_to_clean_originals_of_the_same_scene() -> None:
    plan = make_plan(BASE_URL, 0, 2_000, FULL)
    by_uid = {row.uid: row for row in plan.rows}
    repeats = [row for row in plan.rows if row.of]
    assert {row.kind for row in repeats} == {k.name for k in KINDS.values() if k.repeats}
    for row in repeats:
        original = by_uid[str(row.of)]
        assert original.kind == "clean"
        assert parse_caption(str(row.caption)) == parse_caption(str(original.caption))
        assert row.url != original.url


def test_urls_do_not_reveal_the_kind_of_their_row() -> None:
    plan = make_plan(BASE_URL, 0, 2_000, FULL)
    for row in plan.rows:
        assert row.kind == "page" or row.kind not in (row.url or "")


def test_a_second_call_with_the_same_arguments_changes_no_file(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def make(base_url: str) -> None:
        progress = lambda *numbers: calls.append(numbers)  # noqa: E731
        make_world(tmp_path, base_url, n=N, sides=(64, 72), processes=1, progress=progress)

    make(BASE_URL)
    drawn = len(calls)
    assert calls[-1][0] == calls[-1][1] > 80
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    make(BASE_URL)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    make("http://127.0.0.1:1234")
    assert len(calls) == drawn
    urls = pq.read_table(tmp_path / "rows.parquet")["url"].to_pylist()
    assert sum("127.0.0.1:1234" in (url or "") for url in urls) > 80


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="take 120 or more"):
        make_plan(BASE_URL, 0, 40, FULL)


def test_every_listed_file_of_the_site_is_there(world: Path) -> None:
    routes = json.loads((world / "site.json").read_text())
    named = [route["file"] for route in routes.values() if "file" in route]
    assert len(named) > 5
    assert [name for name in named if not (world / "www" / name.lstrip("/")).is_file()] == []


@pytest.mark.parametrize(
    ("change", "form", "size"),
    [("tiny", "png", (40, 40)), ("strip", "webp", (90, 900)), ("huge", "png", (720, 720))],
)
def test_changed_pictures_have_their_sizes(change: str, form: str, size: tuple[int, int]) -> None:
    data = render(picture(change, form))
    assert decode(data).shape[:2] == size
    assert change != "huge" or len(data) > 500_000


def test_small_pictures_pass_the_hard_limit_and_fail_the_job_rule() -> None:
    assert min(decode(render(picture("small", shape=1.2))).shape[:2]) == 76


@pytest.mark.parametrize("change", ["resized", "recompressed", "cropped", "recoloured"])
def test_repeats_look_like_their_original_but_have_other_bytes(change: str) -> None:
    first, again = render(picture("none")), render(picture(change, path="b.jpg"))
    assert first != again
    small = [cv2.resize(decode(d), (12, 12), interpolation=cv2.INTER_AREA) for d in (first, again)]
    a, b = (x.astype(float).ravel() - x.mean() for x in small)
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.8


def test_a_turned_picture_is_upright_after_its_exif_orientation_is_applied() -> None:
    data = render(picture("turned", shape=1.2))
    upright, plain = decode(data), decode(render(picture("none", shape=1.2)))
    assert np.abs(upright.astype(int) - plain).mean() < 6
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] in (3, 6, 8)


def test_truncated_picture_cannot_be_decoded() -> None:
    data = render(picture("truncated"))
    assert data[:2] == b"\xff\xd8"
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(data)).load()


def test_translations_cover_all_scenes_and_differ() -> None:
    assert set(phrases._SUBJECTS) == set(SUBJECTS)
    assert set(phrases._MATERIALS) == set(MATERIALS)
    assert set(phrases._PLACES) == set(PLACES)
    for language, words in phrases.LANGUAGES.items():
        texts = {
            phrases.translate(scene, language, i)
            for scene in all_scenes()
            for i in range(len(words.templates))
        }
        assert len(texts) == len(all_scenes()) * len(words.templates), language
