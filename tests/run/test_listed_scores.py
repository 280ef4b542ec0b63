"""The list's own scores in place of measured ones."""

import json

import pytest
from lab import Lab

from pipeline.inspect.query import query
from pipeline.inspect.stats import stats


def scored(lab: Lab) -> list[dict]:
    return [
        {**row, "similarity": 0.1 if i % 4 == 0 else 0.3, "punsafe": 0.9 if i % 5 == 0 else 0.1,
         "pwatermark": None if i == 7 else 0.2}
        for i, row in enumerate(lab.site.rows[:20])
    ]  # fmt: skip


SCORES = ["similarity", "punsafe", "pwatermark"]


def test_they_are_judged_by_and_nothing_is_measured(lab: Lab):
    job = lab.job(scored(lab), columns={"scores": SCORES}, rules=None, images={"nsfw": "opennsfw"})
    result = lab.run(job)
    assert "images" not in result.cached
    found = stats(result.run)
    assert found["conserved"] is True
    low = {i for i in range(20) if i % 4 == 0}
    unsafe = {i for i in range(20) if i % 5 == 0} - low
    assert (found["reasons"]["low_clip_score"], found["reasons"]["nsfw"]) == (len(low), len(unsafe))
    assert found["reasons"]["watermark"] == 1  # without a score nothing is known
    columns = query(result.run, "select * from samples limit 1").column_names
    assert "punsafe" in columns
    assert "input_punsafe" not in columns
    provenance = json.loads(result.run.folder.read("provenance.json"))
    assert "punsafe: the list's own" in provenance["models"]
    assert not [name for name in provenance["models"] if "opennsfw" in name]


def test_without_them_the_lists_column_is_kept_beside_the_measured_one(lab: Lab):
    result = lab.run(lab.job(scored(lab)[:4], images={"nsfw": "opennsfw"}))
    (row,) = query(result.run, "select punsafe, input_punsafe from samples limit 1").to_pylist()
    assert row["input_punsafe"] in (0.9, 0.1)
    assert row["punsafe"] != row["input_punsafe"]


def test_plan_says_so(lab: Lab):
    job = lab.job(scored(lab), columns={"scores": SCORES})
    assert json.loads(lab.winnow("plan", str(job), "--json").stdout)["listed_scores"] == SCORES
    said = lab.winnow("plan", str(job)).stdout
    assert "judged by the list's own scores, which are not measured: similarity" in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda row: {k: v for k, v in row.items() if k != "similarity"},
         "columns.scores: the list has no column `similarity`"),
        (lambda row: row | {"similarity": "high"}, "the list's `similarity` is string, no number"),
    ],
)  # fmt: skip
def test_a_score_that_is_not_there_is_refused_before_any_work(lab: Lab, change, expected: str):
    job = lab.job([change(row) for row in scored(lab)], columns={"scores": SCORES})
    done = lab.winnow("run", str(job))
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
