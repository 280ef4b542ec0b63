"""A list's own columns may have any name: every command can read the run."""

from pathlib import Path

import pytest
from planned_run import PlannedRun, make_job, pairs

from pipeline.engine.runner import _write_job, products_of, write_state
from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.inspect.stats import stats
from pipeline.inspect.view import quote
from pipeline.lifecycle.forget import forget
from pipeline.table.run import Run
from pipeline.words.progress import Lines

NAMES = [
    # DuckDB's own names, and the names of tables and columns in our queries.
    "filename", "FileName", "file_row_number", "file_index", "rowid", "s", "p", "p0", "n", "name",
    "v0", "size", "out", "key", "shard", "Row", "verdict", "aligned", "checked", "samples", "gone",
    "listed", "one_file", "_winnow_order", "_order", "_shard", "group", "Reason", "uid",
    # Names that other programs use, and unusual ones.
    "__index_level_0__", "", " ", "a.b", 'say "hi"', "it's", "two words", "größe", "袋鼠", "a\nb",
    "%s", "{x}", "select", "order", "*", "column_1", "<b>", "input_shard",
]  # fmt: skip


def own_column(run: Run, name: str) -> str:
    """The name of the list's column in the run."""
    (found,) = (own for own, source in run.index.passthrough.items() if source == name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_column_can_be_read_by_every_command(tmp_path: Path, name: str):
    rows = [row | {name: f"value {i % 2}"} for i, row in enumerate(pairs(4))]
    rules = [{"reason": "x_odd", "when": "caption like '%1'"}]
    planned = PlannedRun.of(make_job(tmp_path, rows, shard_size=2, rules=rules), tmp_path)
    run = planned.plan.run
    _write_job(run, planned.plan.job, None)
    write_state(run, products_of(planned.plan))
    assert stats(run)["unfinished"] == 4
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        planned.commit_part(
            "download", shard, [{"status": "failed", "fetch_reason": "timeout"}] * 2
        )
    planned.make("pairs", "dedup", "decide")
    reported = stats(run)
    assert (reported["conserved"], reported["failed"], reported["misaligned"]) == (True, 4, 0)
    own = own_column(run, name)
    found = query(
        run, f"select caption, {quote(own)} as value, shard, row from samples"
    ).to_pylist()
    assert {row["caption"]: row["value"] for row in found} == {r["caption"]: r[name] for r in rows}
    assert sorted((r["shard"], r["row"]) for r in found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    answer = explain(run, rows[1]["url"])
    results = {rule["reason"]: rule["result"] for rule in answer["rules"]}
    assert (answer["reasons"], results["x_odd"]) == (["timeout", "x_odd"], True)
    assert answer["passthrough"] == {own: rows[1][name]}
    with (tmp_path / "said.txt").open("w") as said:
        _, dry = forget(run, [("url", rows[1]["url"], "--url")], True, Lines(said))
    assert (dry["rows"], dry["related"]) == (1, 0)
