"""One reading and decoding of a shard's pictures for every stage that is stale."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from planned_run import jpeg, pairs
from records import record

from pipeline.engine import tasks
from pipeline.measure.decoding import measure_pictures
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.clip import load_clip
from pipeline.models.nsfw import load_nsfw
from pipeline.table.columns import Column
from pipeline.table.parquet import read_parquet

BOTH = {"embed": {"model": "winnow-tiny", "batch_size": 3}, "images": {"nsfw": "opennsfw"}}


class Brightness(PictureStage):
    """Mean of the pixels; records its inputs for the tests."""

    name = "brightness"
    prepared: list[float]
    batches: list[list[str]]

    def __init__(self, job, batch: int = 4, name: str = "brightness") -> None:
        super().__init__(job)
        self._batch, self.name = batch, name
        self.prepared, self.batches = [], []

    reads = ("caption",)
    arrays = ("grey",)

    @property
    def writes(self):
        return (Column(self.name, pa.float32(), "Mean of the pixels."),)

    @property
    def batch(self) -> int:
        return self._batch

    def session(self):
        return self

    def prepare(self, rgb):
        assert rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous
        self.prepared.append(float(rgb.mean()))
        return rgb

    def measure(self, items, rows):
        self.batches.append(rows["caption"].to_pylist())
        means = np.array([item.mean() for item in items], np.float32)
        return Measured({self.name: means}, {"grey": means[:, None]})


@pytest.fixture
def planned(plan_run, drawings):
    """Seven rows; the pictures of rows 2 and 5 could not be fetched."""
    planned = plan_run(pairs(7))
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [None if i in (2, 5) else drawings[i] for i in range(7)])
    return planned


def decoded(pixels: np.ndarray) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg(pixels), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def measured(planned, stages, masks, folder: Path):
    return measure_pictures(planned.plan.data(0), stages, masks, folder)


def test_rows_keep_their_order_and_failures_are_null(planned, drawings, tmp_path: Path):
    stage = Brightness(planned.plan.job)
    output = measured(planned, [stage], {"brightness": np.ones(7, bool)}, tmp_path)["brightness"]
    assert output.table["uid"].to_pylist() == [row["uid"] for row in planned.rows(0)]
    found = output.table["brightness"].to_pylist()
    assert [i for i, value in enumerate(found) if value is None] == [2, 5]
    expected = [0 if i in (2, 5) else decoded(drawings[i]).mean() for i in range(7)]
    assert [value or 0 for value in found] == pytest.approx(expected, rel=1e-5)
    assert output.summary == {"measured": 5}
    grey = np.load(output.files["grey.npy"])
    assert (grey.dtype, grey.shape) == (np.float16, (7, 1))
    assert grey[:, 0] == pytest.approx(expected, abs=0.1)


def test_batches_hold_the_columns_of_their_own_rows(planned, tmp_path: Path):
    stage = Brightness(planned.plan.job, batch=2)
    measured(planned, [stage], {"brightness": np.ones(7, bool)}, tmp_path)
    captions = [row["caption"] for row in planned.rows(0)]
    assert stage.batches == [
        [captions[0], captions[1]], [captions[3], captions[4]], [captions[6]],
    ]  # fmt: skip


def test_only_marked_rows_are_measured_or_even_decoded(planned, tmp_path, monkeypatch):
    decodes = count_decodes(monkeypatch)
    stage = Brightness(planned.plan.job)
    mask = np.array([1, 0, 1, 0, 1, 1, 0], bool)
    output = measured(planned, [stage], {"brightness": mask}, tmp_path)["brightness"]
    known = output.table["brightness"].is_valid().to_pylist()
    assert known == [True, False, False, False, True, False, False]
    assert len(decodes) == len(stage.prepared) == 2


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    imdecode = cv2.imdecode

    def counting(data, flags):
        found.append(len(data))
        return imdecode(data, flags)

    monkeypatch.setattr(cv2, "imdecode", counting)
    return found


def test_one_decoding_gives_each_stage_its_own_rows(planned, tmp_path, monkeypatch):
    decodes = count_decodes(monkeypatch)
    job = planned.plan.job
    first, second = Brightness(job, 2, "first"), Brightness(job, 3, "second")
    masks = {
        "first": np.array([1, 1, 1, 0, 0, 1, 1], bool),
        "second": np.array([0, 1] + [1] * 5, bool),
    }
    outputs = measured(planned, [first, second], masks, tmp_path)
    assert len(decodes) == 5
    assert (len(first.prepared), len(second.prepared)) == (3, 4)
    a, b = (outputs[n].table[n].to_pylist() for n in ("first", "second"))
    assert [v is not None for v in a] == [True, True, False, False, False, False, True]
    assert [v is not None for v in b] == [False, True, False, True, True, False, True]
    assert (a[1], a[6]) == (b[1], b[6])


def test_more_pictures_than_are_decoded_ahead(plan_run, drawings, tmp_path: Path):
    planned = plan_run(pairs(150))
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [drawings[i % 8] for i in range(150)])
    stage = Brightness(planned.plan.job, batch=64)
    output = measured(planned, [stage], {"brightness": np.ones(150, bool)}, tmp_path)["brightness"]
    expected = [decoded(drawings[i % 8]).mean() for i in range(150)]
    assert output.table["brightness"].to_pylist() == pytest.approx(expected, rel=1e-5)
    assert [len(batch) for batch in stage.batches] == [64, 64, 22]


def test_a_shard_without_pictures_has_arrays_without_width(plan_run, tmp_path: Path):
    planned = plan_run(pairs(2))
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [None, None])
    stage = Brightness(planned.plan.job)
    output = measured(planned, [stage], {"brightness": np.ones(2, bool)}, tmp_path)["brightness"]
    assert output.table["brightness"].to_pylist() == [None, None]
    assert np.load(output.files["grey.npy"]).shape == (2, 0)


def test_a_damaged_stored_picture_raises_an_error(planned, tmp_path: Path):
    from planned_run import write_tar

    tar = Path(planned.plan.run.folder.path(f"{planned.plan.by_name['download'].folder}/00000.tar"))
    write_tar(tar, {0: b"\xff\xd8 no picture"})
    record(tar)
    stage = Brightness(planned.plan.job)
    with pytest.raises(ValueError, match="row 0: the stored picture does not decode"):
        measured(planned, [stage], {"brightness": np.ones(7, bool)}, tmp_path)


@pytest.mark.slow
def test_the_builtin_picture_stages_commit_their_models_scores(plan_run, drawings, monkeypatch):
    planned = plan_run(pairs(5), **BOTH)
    planned.make(*planned.caption_stages)
    captions = [row["caption"] for row in planned.rows(0)]
    planned.commit_pictures(0, [None if i == 3 else drawings[i] for i in range(5)])
    decodes = count_decodes(monkeypatch)
    names = ["embed", "images"]
    inputs = planned.made_from("embed", 0) | planned.made_from("images", 0)
    done = tasks.run_pictures(planned.plan.run.folder.url, planned.plan.digest, names, 0, inputs)
    assert len(decodes) == 4  # both stages, one decoding
    assert set(done.digests) == set(names)
    assert done.rows == 5

    clip, known = load_clip("winnow-tiny"), [0, 1, 2, 4]
    pixels = [decoded(drawings[i]) for i in known]
    images = clip.encode_images(np.stack([clip.preprocess(p) for p in pixels])).astype(float)
    texts = clip.encode_texts([captions[i] for i in known]).astype(float)
    unsafe = load_nsfw().score(pixels)
    scores, nsfw = planned.read("embed"), planned.read("images")
    for place, i in enumerate(known):
        cosine = images[place] @ texts[place]
        assert scores[captions[i]]["clip_score"] == pytest.approx(cosine, abs=2e-3)
        assert nsfw[captions[i]]["punsafe"] == pytest.approx(unsafe[place], abs=1e-4)
    assert scores[captions[3]]["clip_score"] is None
    assert nsfw[captions[3]]["punsafe"] is None
    vectors = planned.plan.data(0).array("embed", "img.npy")
    np.testing.assert_allclose(vectors[known], images, atol=2e-3)
    assert not vectors[3].any()
    stored = read_parquet(
        planned.plan.run.folder, f"{planned.plan.by_name['embed'].folder}/00000.parquet"
    )
    halves = np.einsum(
        "nd,nd->n",
        vectors.astype(np.float32),
        planned.plan.data(0).array("embed", "txt.npy").astype(np.float32),
    )
    known_scores = [stored["clip_score"].to_pylist()[i] for i in known]
    assert known_scores == pytest.approx(
        halves[known], abs=1e-6
    )  # it can be recomputed from the stored vectors


@pytest.mark.parametrize("audit_fraction", [0, 1])
def test_only_if_leaves_rows_out_except_those_of_the_audit(
    plan_run, drawings, audit_fraction: float
):
    embed = {"model": "winnow-tiny", "only_if": "caption like '%number 1'"}
    planned = plan_run(pairs(3), embed=embed, audit_fraction=audit_fraction)
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, drawings[:3])
    planned.make("embed")
    known = {int(c.split()[-1]) for c, own in planned.read("embed").items() if own["clip_score"]}
    assert known == ({0, 1, 2} if audit_fraction else {1})
