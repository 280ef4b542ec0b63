"""In what arithmetic a run's CLIP ran: in the parts, the provenance, the card and the report."""

import json

import numpy as np
import pytest
from lab import Lab

from pipeline.inspect.query import query
from pipeline.table.sealed import unseal
from pipeline.words.arithmetic import arithmetic_lines

SMALL = {"shard_size": 10}


def noted(run) -> list[dict]:
    return unseal(run.folder.read("provenance.json"))["arithmetic"]


def test_it_is_noted_and_shown_and_the_next_run_still_knows_it(lab: Lab):
    rows = lab.site.rows[:20]
    tiny = {"model": "winnow-tiny", "precision": "int8"}
    job = lab.job(rows, embed=tiny, **SMALL)
    result = lab.run(job)
    (one,) = {json.dumps(x, sort_keys=True) for x in noted(result.run) if "image" in x["network"]}
    facts = json.loads(one)
    assert (facts["stage"], facts["engine"], facts["precision"]) == ("embed", "OpenVINO", "int8")
    line = "embed, image tower: int8 by OpenVINO."
    assert line in arithmetic_lines({"arithmetic": noted(result.run)})
    (card,) = [n for n in result.run.folder.names("export") if not n.endswith(".json")]
    assert line in result.run.folder.read(f"export/{card}/README.md").decode()
    assert lab.winnow("report", result.run.folder.url).returncode == 0
    assert line in result.run.folder.read("report.html").decode()
    before = noted(result.run)
    again = lab.run(lab.job([*rows, lab.site.rows[20]], embed=tiny, **SMALL))
    assert again.run.index.rows == 21
    assert noted(again.run) == before


def test_int8_gives_nearly_the_scores_of_fp32_for_every_row(lab: Lab):
    scores = []
    for precision in ("fp32", "int8"):
        embed = {"model": "winnow-tiny", "precision": precision}
        run = lab.run(lab.job(lab.site.rows[:12], embed=embed, name=precision, **SMALL)).run
        table = query(run, "select clip_score from samples order by uid")
        scores.append(np.array(table["clip_score"].to_pylist(), float))
    known = ~np.isnan(scores[0])
    assert known.sum() > 3
    assert (np.isnan(scores[1]) == ~known).all()
    assert np.abs(scores[0] - scores[1])[known].max() < 0.1
    assert (scores[0] != scores[1])[known].any()


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        ({"precision": "fp16"}, "embed.precision: fp16 is for GPUs; give `auto`, `bf16` or `int8`"),
        ({"precision": "int8", "device": "cuda"}, "embed.precision: int8 is for CPUs; give `fp16`"),
        ({"min_cosine": 1.5}, "embed.min_cosine"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(lab: Lab, embed, said):
    job = lab.job(lab.site.rows[:4], embed={"model": "winnow-tiny", **embed})
    done = lab.winnow("run", str(job))
    assert done.returncode == 2
    assert said in done.stderr
