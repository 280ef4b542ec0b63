"""A list whose own columns have odd names, through a whole run and a takedown."""

from pathlib import Path

from lab import Lab

from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import stats
from pipeline.lifecycle.forget import forget
from pipeline.table.run import Run
from pipeline.words.progress import Lines

NAMES = (
    "filename", "FileName", "file_row_number", "s", "p0", "v0", "key", "shard", "row", "verdict",
    "samples", "_winnow_order", "__index_level_0__", "", "a.b", 'say "hi"', "two words", "袋鼠",
    "select", "order",
)  # fmt: skip


def own_column(run: Run, name: str) -> str:
    """What the list's column is called in the run."""
    (found,) = (own for own, source in run.index.passthrough.items() if source == name)
    return found


def test_all_odd_column_names_in_one_whole_run(lab: Lab):
    rows = [
        row | {name: f"{name} {i}" for name in NAMES} for i, row in enumerate(lab.site.rows[:12])
    ]
    rules = [
        {"reason": "x_order", "when": "_winnow_order = '_winnow_order 3'"},
        {"reason": "x_file", "when": "filename = 'filename 4' or v0 = 'v0 4'"},
    ]
    result = lab.run(lab.job(rows, rules=rules))
    run = result.run
    assert stats(run)["reasons"] == {"x_order": 1, "x_file": 1}
    own = {name: own_column(run, name) for name in NAMES}
    assert len({found.casefold() for found in own.values()}) == len(NAMES)
    (row,) = query(run, f"select * from samples where url = '{rows[5]['url']}'").to_pylist()
    assert {name: row[own[name]] for name in NAMES} == {name: f"{name} 5" for name in NAMES}
    answer = explain(run, rows[3]["url"])
    assert answer["reason"] == "x_order"
    assert answer["passthrough"] == {own[name]: f"{name} 3" for name in NAMES}
    assert "袋鼠" in Path(write_report(run)).read_text()
    with (lab.folder / "said.txt").open("w") as said:
        _, answer = forget(run, [("url", rows[7]["url"], "--url")], False, Lines(said))
    assert answer["rows"] == 1
    reported = stats(Run(run.folder.url))
    assert (reported["conserved"], reported["reasons"]["forgotten"]) == (True, 1)
    for shard in sorted((Path(run.folder.path("shards"))).glob("*.parquet")):
        assert "袋鼠 7".encode() not in shard.read_bytes()
