"""The report's counts do not depend on how the samples were cut into chunks."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import Made, make_run, many_samples, sample

from pipeline.inspect import chunks
from pipeline.inspect.report import balance, counting
from pipeline.inspect.report.write import gather
from pipeline.inspect.stats import stats

pytestmark = pytest.mark.slow

COUNTS = ("stats", "judged", "fetched", "funnel", "balance", "constant", "examples", "groups")


def charts(page: dict[str, Any]) -> dict[str, list[Any]]:
    """Each histogram's nulls and heights."""
    found = {}
    for shown in (*page["histograms"], *page["more_histograms"]):
        text = str(shown["item"])
        assert "top" in text
        found[shown["column"]] = [shown["nulls"], shown["cut"]]
    return found


def test_one_shard_at_a_time_gives_the_same_page(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gather(made.run, 0)
    monkeypatch.setattr(chunks, "ROWS", 1)
    monkeypatch.setattr(balance, "ADDED", 0)
    in_shards = gather(made.run, 0)
    assert whole["stats"]["shards"] > 1
    assert {name: in_shards[name] for name in COUNTS} == {name: whole[name] for name in COUNTS}
    assert charts(in_shards) == charts(whole)


def test_a_column_that_only_later_rows_fill_has_its_histogram(
    make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 1)
    monkeypatch.setattr(counting, "SAMPLED", 1)
    rows = [sample(i, toxicity=None, vocabulary_hits=0) for i in range(40)]
    rows += [sample(i, toxicity=i / 100, vocabulary_hits=i % 3, clip_score=5.0 * i)
             for i in range(40, 60)]  # fmt: skip
    page = gather(make(rows).run, 0)
    shown = charts(page)
    assert shown["toxicity"] == [40, False]
    assert shown["vocabulary_hits"] == [0, False]
    assert shown["clip_score"] == [0, True], "rows beyond the sampled axis are in its last bar"


@pytest.mark.parametrize("name", ["a[1]*?", "it's", "{x}=1", "umlaut-ü and space"])
def test_a_run_folder_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    made = make_run(folder, many_samples())
    assert stats(made.run)["conserved"] is True
    assert gather(made.run, 0)["stats"]["kept"] == 44


def test_a_rule_of_another_tool_cannot_reach_into_the_sql(make) -> None:
    run = make(many_samples()).run
    job = json.loads(run.folder.read("resolved.json"))
    job["rules"][0]["reason"] = "x_o'clock') OR true; DROP VIEW samples; --"
    run.write_job(job)
    names = [row["name"] for row in gather(run, 0)["judged"]]
    assert job["rules"][0]["reason"] in names
