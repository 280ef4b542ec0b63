"""The temperature and bias at which a zero-shot head's scores are probabilities."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.api import run
from pipeline.inspect.calibrate import read_labels, report
from pipeline.inspect.query import query
from pipeline.models.calibration import Calibrated, calibration_error, fit, log_loss, probabilities
from pipeline.table.run import Run
from pipeline.words.errors import InputError

SIDES = 3


def cosines(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0.25, 0.03, (rows, 1)), rng.normal(0.22, 0.03, (rows, SIDES))


def test_the_temperature_that_labels_were_drawn_by_is_found():
    positive, negative = cosines(4000)
    truth = Calibrated(temperature=0.04, bias=-0.5)
    scores = probabilities(positive, negative, truth)
    labels = np.random.default_rng(1).random(len(scores)) < scores
    found = fit(positive, negative, labels, start=100.0)
    assert found.temperature == pytest.approx(0.04, rel=0.15)
    assert found.bias == pytest.approx(-0.5, abs=0.15)
    before = probabilities(positive, negative, Calibrated(0.01, 0.0))
    after = probabilities(positive, negative, found)
    assert calibration_error(before, labels) > 0.2
    assert calibration_error(after, labels) < 0.03
    assert log_loss(after, labels) < log_loss(before, labels)


def test_labels_that_a_threshold_separates_give_a_finite_temperature():
    positive, negative = cosines(100)
    labels = positive[:, 0] > 0.25
    found = fit(positive, positive * 0 + 0.25, labels, start=100.0)
    assert 1e-4 < found.temperature < 0.01
    assert negative.shape == (100, SIDES)


def test_calibration_error_of_known_scores():
    """Half are right where 0.75 is said, all where 0.95 is: (4 × 0.25 + 4 × 0.05) / 8."""
    scores = np.repeat([0.75, 0.95], 4)
    labels = np.asarray([1, 1, 0, 0, 1, 1, 1, 1], bool)
    assert calibration_error(scores, labels) == pytest.approx((4 * 0.25 + 4 * 0.05) / 8)


@pytest.fixture(scope="module")
def cats(tmp_path_factory) -> tuple[str, dict[str, bool]]:
    """A run over drawings of cats and other animals, and labels, of which a sixth is wrong."""
    from pipeline.demo.world import Scene, caption, draw

    folder = tmp_path_factory.mktemp("cats")
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(72):
        scene = Scene(("cat", "rabbit", "kangaroo")[i % 3], "wood", "hill")
        Image.fromarray(draw(scene, np.random.default_rng(i), 96)).save(pictures / f"{i:02}.png")
        (pictures / f"{i:02}.txt").write_text(caption(scene))
    head = {"name": "cat", "kind": "zeroshot", "positive": ["a cat"], "negative": ["a rabbit"]}
    done = run(
        {
            "name": "cats", "input": str(pictures), "input_format": "imagefolder",
            "output": str(folder), "shard_size": 30, "rules": [],
            "captions": {"toxicity": None, "language": False}, "cluster": {"executor": "inline"},
            "download": {"min_image_size": 32, "allow_paths": [str(pictures)]},
            "embed": {"model": "winnow-tiny"}, "images": {"nsfw": None, "heads": [head]},
            "dedup": {"phash_distance": None, "vector_similarity": None},
        },
        quiet=True,
    )  # fmt: skip
    rows = query(Run(done.folder), "select uid, url from samples order by uid").to_pylist()
    # Both halves, every second row, have as many wrong labels, wherever the folder lies.
    labels = {
        row["uid"]: (int(Path(row["url"]).stem) % 3 == 0) != (place % 12 in (0, 1))
        for place, row in enumerate(rows)
    }
    return done.folder, labels


def write(path: Path, labels: dict[str, bool]) -> Path:
    path.write_text("uid,label\n" + "".join(f"{uid},{int(v)}\n" for uid, v in labels.items()))
    return path


@pytest.mark.slow
def test_scores_of_a_run_fit_better_after(cats, tmp_path: Path):
    folder, labels = cats
    path = write(tmp_path / "labels.csv", labels)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.inspect.calibrate", folder, "cat", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("# cat: fitted on 36 labelled rows, measured on 36 others")
    before, after = ([float(part.split()[-1]) for part in line.split(",")] for line in lines[1:3])
    # Which half is measured depends on the uids, and so on the folder's name; the calibration error
    # of 36 rows differs too much from half to half to be compared.
    assert before[1] > after[1], "log loss"
    keys = yaml.safe_load(done.stdout)
    assert set(keys) == {"temperature", "bias"}
    assert keys["temperature"] > 0.02  # a sixth of wrong labels: less sure than the model is


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "text", "expected"),
    [
        ("dog", "uid,label\n", "HEAD: `dog` is no zero-shot head of this run; there are cat"),
        ("cat", "id,label\n", "must name the columns `uid` and `label`"),
        ("cat", "uid,label\nab,2\n", r"line 2: label `2`; write 1 or 0"),
        ("cat", "uid,label\nab,1\n", "no row of this run that has a vector has one of its 1 uids"),
    ],
)
def test_what_cannot_be_used_is_said(cats, tmp_path: Path, head: str, text: str, expected: str):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=expected):
        report(cats[0], head, path)


@pytest.mark.slow
def test_labels_of_one_kind_are_not_enough(cats, tmp_path: Path):
    folder, labels = cats
    path = write(tmp_path / "labels.csv", dict.fromkeys(list(labels)[:30], True))
    with pytest.raises(InputError, match="30 are labelled 1 and 0 are labelled 0; label at least"):
        report(folder, "cat", path)


def test_labels_are_read_as_written(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_bytes("\ufeffuid,label,note\na,1,x\nb, No ,\nc,TRUE,\n".encode())
    assert read_labels(path) == {"a": True, "b": False, "c": True}
    with pytest.raises(InputError, match=r"gone.csv cannot be read"):
        read_labels(tmp_path / "gone.csv")
