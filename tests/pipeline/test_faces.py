"""Faces: found in a photograph, not in drawings, and blurred so that nothing is left of them."""

import importlib.util
import io
import subprocess
import sys

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config.load import parse_job
from pipeline.export.blur import CELLS, FaceBlur, blur
from pipeline.measure.pictures.faces import FacesSession, FacesStage
from pipeline.measure.pictures.nudenet import LABELLED, NudeNetSession
from pipeline.models.boxes import BOX, best_boxes, covered
from pipeline.models.faces import WEIGHTS, faces_digest, load_faces
from pipeline.models.nudenet import check_nudenet, load_nudenet
from pipeline.words.errors import InputError, PartError

FACE = (0.34, 0.13, 0.54, 0.36)
"""The astronaut's face: left, top, right, bottom, as shares; read off the picture."""


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """NASA's portrait of Eileen Collins, from scikit-image: RGB uint8 (512, 512, 3)."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra dev) has the photograph")
    return np.ascontiguousarray(data.astronaut())


def measured(session, *pictures):
    columns = session.measure([session.prepare(one) for one in pictures], None).columns
    return {name: pa.array(values).to_pylist() for name, values in columns.items()}


def overlap(box, edges) -> float:
    """Intersection over union."""
    left, top = max(box["x"], edges[0]), max(box["y"], edges[1])
    right = min(box["x"] + box["width"], edges[2])
    bottom = min(box["y"] + box["height"], edges[3])
    both = max(0, right - left) * max(0, bottom - top)
    whole = box["width"] * box["height"] + (edges[2] - edges[0]) * (edges[3] - edges[1])
    return both / (whole - both)


@pytest.mark.parametrize("shape", [(512, 512), (256, 256), (96, 96), (256, 512), (700, 350)])
def test_a_face_is_found_where_it_is_whatever_the_pictures_size_and_shape(astronaut, shape):
    wide = cv2.resize(astronaut, (min(shape), min(shape)), interpolation=cv2.INTER_AREA)
    picture = np.full((*shape, 3), 90, np.uint8)
    picture[: wide.shape[0], : wide.shape[1]] = wide
    (boxes,) = measured(FacesSession(load_faces(1)), picture)["face_boxes"]
    share = np.tile([min(shape) / shape[1], min(shape) / shape[0]], 2)
    assert overlap(boxes[0], np.array(FACE) * share) > 0.6
    assert boxes[0]["score"] > 0.6


def test_a_batch_gives_what_single_pictures_give(astronaut, drawings):
    session, pictures = FacesSession(load_faces(1)), [astronaut, *drawings[:3], astronaut[:, ::-1]]
    together = measured(session, *pictures)
    alone = [measured(session, one) for one in pictures]
    assert together["faces"] == [one["faces"][0] for one in alone] == [1, 0, 0, 0, 1]
    for name in ("face_share", "face_sharpness"):
        for got, one in zip(together[name], alone, strict=True):
            assert (got or 0) == pytest.approx(one[name][0] or 0, rel=1e-3)
    assert together["face_sharpness"][1] is None
    assert together["face_share"][1] == 0
    assert 0.03 < together["face_share"][0] < 0.06


def test_sharpness_falls_as_a_face_is_blurred(astronaut):
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    pictures = [small, *(cv2.GaussianBlur(small, (0, 0), sigma) for sigma in (1, 2, 3))]
    sharp = measured(FacesSession(load_faces(1)), *pictures)["face_sharpness"]
    assert sharp == sorted(sharp, reverse=True)
    assert sharp[2] < sharp[0] / 3


def test_the_columns_have_the_declared_types(astronaut):
    stage = FacesStage(parse_job({"input": "rows.csv", "measure": {"faces": {}}}, "job.yaml"))
    session = stage.session()
    found = session.measure([session.prepare(astronaut)], None).columns
    types = {column.name: column.type for column in stage.writes}
    assert set(found) == set(types)
    assert all(pa.array(found[name], types[name]).null_count == 0 for name in types)
    assert types["face_boxes"] == pa.list_(BOX)


def test_overlapping_boxes_of_a_class_are_one_and_edges_are_the_pictures():
    edges = np.array([[0, 0, 0.5, 0.5], [0.02, 0, 0.5, 0.5], [0.6, 0.6, 1.4, 1.2]], np.float32)
    edges = np.concatenate([edges, edges[:1], [[1.1, 0, 1.2, 0.1]]]).astype(np.float32)
    scores = np.array([0.6, 0.9, 0.3, 0.5, 0.9], np.float32)
    found = best_boxes(edges, scores, np.array([0, 0, 0, 1, 0]), 0.3)
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert found.classes.tolist() == [0, 1, 0]
    assert found.edges[2].tolist() == pytest.approx([0.6, 0.6, 1, 1])
    assert covered(found.edges[2:]) == pytest.approx(0.16, abs=0.01)


def test_the_weights_have_their_licence_and_digest_beside_them():
    readme = (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    assert faces_digest() in readme
    assert (WEIGHTS.parent / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


with_nudenet = pytest.mark.skipif(
    importlib.util.find_spec("nudenet") is None, reason="needs the extra nudenet (AGPL-3.0)"
)


@with_nudenet
def test_nudenet_finds_the_face_and_nothing_exposed(astronaut, drawings):
    found = measured(NudeNetSession(load_nudenet(1)), astronaut, drawings[0])
    best = found["nudenet_boxes"][0][0]
    assert best["label"] == "FACE_FEMALE"
    assert overlap(best, FACE) > 0.5
    assert found["nudenet_exposed"][0] == 0
    assert pa.array(found["nudenet_boxes"], pa.list_(LABELLED)).null_count == 0


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("pipeline.words.extras.find_spec", lambda name: None)
    told = r"measure.nudenet needs nudenet: pip install 'winnow-curation\[nudenet\]'"
    with pytest.raises(InputError, match=told):
        check_nudenet()


@with_nudenet
def test_nudenets_code_is_never_imported():
    """It is AGPL-3.0: only its weights are read."""
    code = (
        "import sys; from pipeline.models.nudenet import load_nudenet; load_nudenet(1); "
        "sys.exit('nudenet' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def stored(pixels: np.ndarray) -> bytes:
    import simplejpeg

    return simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB", colorsubsampling="420")


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def face_blur() -> FaceBlur:
    return FaceBlur("faces", 0.2, 95)


def test_a_blurred_face_is_no_longer_found_and_the_rest_stays(astronaut, face_blur):
    session, before = FacesSession(load_faces(1)), stored(astronaut)
    (boxes,) = measured(session, opened(before))["face_boxes"]
    after = face_blur.apply(before, boxes)
    assert measured(session, opened(after))["faces"] == [0]
    changed = np.abs(opened(after).astype(int) - opened(before)).max(axis=2)
    rows, columns = np.nonzero(changed > 24)
    box = boxes[0]
    margin_x, margin_y = box["width"] * 0.27 + 0.02, box["height"] * 0.27 + 0.02
    assert columns.min() / 512 > box["x"] - margin_x
    assert columns.max() / 512 < box["x"] + box["width"] + margin_x
    assert rows.min() / 512 > box["y"] - margin_y
    assert rows.max() / 512 < box["y"] + box["height"] + margin_y
    outside = np.ones((512, 512), bool)
    outside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = False
    error = (opened(after)[outside].astype(float) - opened(before)[outside]) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 45  # decibels
    assert not Image.open(io.BytesIO(after)).getexif()


def test_what_is_left_of_a_face_depends_on_a_few_mean_colours_alone():
    """Two faces with equal means in every cell cannot be told apart afterwards."""
    rng = np.random.default_rng(3)
    box = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5, "score": 1.0}
    one = np.full((256, 256, 3), 120, np.uint8)
    other = one.copy()
    size = 192 // CELLS
    for top in range(32, 224, size):
        for left in range(32, 224, size):
            cell = rng.integers(-60, 60, (size, size // 2, 3))
            noise = np.concatenate([cell, -cell], axis=1)
            other[top : top + size, left : left + size] = 120 + noise
    inside = blur(other, [box])[80:176, 80:176]
    assert np.abs(inside.astype(int) - blur(one, [box])[80:176, 80:176]).max() <= 1


def test_boxes_at_the_edges_of_tiny_and_narrow_pictures_are_blurred():
    rng = np.random.default_rng(4)
    whole = {"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0, "score": 1.0}
    corner = {"x": 0.95, "y": 0.9, "width": 0.05, "height": 0.1, "score": 1.0}
    for shape in ((1, 1, 3), (5, 300, 3), (300, 5, 3), (64, 64, 3)):
        picture = rng.integers(0, 256, shape, np.uint8)
        for box in (whole, corner):
            assert blur(picture, [box]).shape == shape
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    assert blur(noise, [whole])[8:-8, 8:-8].std() < noise.std() / 4


def test_a_picture_without_boxes_keeps_its_bytes_and_low_scores_do_not_count(astronaut, face_blur):
    data = stored(astronaut[:64, :64])
    assert face_blur.apply(data, []) is data
    low = {"x": 0.1, "y": 0.1, "width": 0.2, "height": 0.2, "score": 0.1}
    table = pa.table({"uid": ["a", "b"], "face_boxes": pa.array([[low], []], pa.list_(BOX))})
    assert face_blur.boxes(table) == [[], []]


def test_of_nudenets_boxes_the_faces_are_blurred():
    place = {"x": 0.1, "y": 0.1, "width": 0.2, "height": 0.2, "score": 0.9}
    labels = ["FEET_EXPOSED", "FACE_MALE", "FACE_FEMALE"]
    boxes = [place | {"label": label} for label in labels]
    table = pa.table({"uid": ["a"], "nudenet_boxes": pa.array([boxes], pa.list_(LABELLED))})
    (found,) = FaceBlur("nudenet", 0.2, 95).boxes(table)
    assert [box["label"] for box in found] == labels[1:]


def test_a_row_whose_faces_were_not_looked_for_is_not_written(face_blur):
    table = pa.table({"uid": ["a"], "face_boxes": pa.array([None], pa.list_(BOX))})
    with pytest.raises(PartError, match="the faces of row a were not looked for"):
        face_blur.boxes(table)
