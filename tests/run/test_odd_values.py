"""A list with values that Python, DuckDB or JSON cannot hold, through a run and a takedown."""

import datetime
import decimal
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lab import Lab

from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import stats
from pipeline.lifecycle.forget import forget
from pipeline.table.run import Run
from pipeline.words.progress import Lines

ROWS = 12


def odd(values: list, kind: pa.DataType) -> pa.Array:
    """The values in the first rows, nulls below."""
    return pa.concat_arrays([pa.array(values, kind), pa.nulls(ROWS - len(values), kind)])


COLUMNS = {
    "late": odd([253402300800, -(2**40), 0], pa.timestamp("s")),  # the year 10000, and before 1
    "late_date": odd([2**30, -(2**30), 0], pa.int32()).cast(pa.date32()),
    "zone": odd([0, 1], pa.timestamp("us", "Mars/Phobos")),
    "offset": odd([0, 1], pa.timestamp("us", "+02:00")),
    "huge": odd([decimal.Decimal(10) ** 50], pa.decimal256(60, 2)),
    "exact": odd([decimal.Decimal("1.25")], pa.decimal128(9, 2)),
    "nul": odd(["a\0b", "\0"], pa.string()),
    "clock": odd([datetime.time(1, 2)], pa.time64("us")),
    "span": odd([2**62, 1], pa.duration("s")),
    "raw": odd([b"\xff\0", b""], pa.binary()),
    "nested": odd([{"a": [1, None]}], pa.struct([("a", pa.list_(pa.int64()))])),
    "boxes": odd([[[0.5, float("nan")], []], []], pa.list_(pa.list_(pa.float64()))),
    "infinite": odd([float("inf"), float("nan")], pa.float64()),
}

MISFITS = {"late": {0, 1}, "late_date": {0, 1}, "span": {0}}
"""Rows whose times Python cannot hold."""

EXPORTED = {
    "late": ["1970-01-01 00:00:00", None], "late_date": ["1970-01-01", None],
    "zone": ["1970-01-01 00:00:00+00:00", "1970-01-01 00:00:00.000001+00:00"],
    "offset": ["1970-01-01 02:00:00+02:00", "1970-01-01 02:00:00.000001+02:00"],
    "huge": [f"1{'0' * 50}.00", None], "exact": ["1.25", None], "nul": ["a\0b", "\0"],
    "clock": ["01:02:00", None], "span": ["0:00:01", None], "raw": ["\ufffd\0", ""],
    "nested": [{"a": [1, None]}, None], "infinite": [None, None],
    "boxes": [[[0.5, None], []], []],
}  # fmt: skip
"""What the tar's JSON holds in the first two rows that are kept, of each column alone."""


@pytest.mark.parametrize(
    "names", [list(COLUMNS), *([name] for name in COLUMNS)], ids=lambda n: n[0]
)
def test_odd_values_in_one_whole_run(lab: Lab, names: list[str]):
    rows = lab.site.rows[:ROWS]
    path = lab.folder / "odd.parquet"
    pairs = {key: [row[key] for row in rows] for key in ("url", "caption")}
    pq.write_table(pa.table({**pairs, **{name: COLUMNS[name] for name in names}}), path)
    job = lab.job(rows, input=str(path), rules=[])
    result = lab.run(job)
    run = result.run
    assert stats(run)["conserved"] is True
    odd_rows = set().union(*(MISFITS.get(name, set()) for name in names))
    reasons = {"cell_invalid": len(odd_rows)} if odd_rows else {}
    assert (stats(run)["kept"], stats(run)["reasons"]) == (ROWS - len(odd_rows), reasons)
    assert query(run, "select count(*) n from samples").to_pylist() == [{"n": ROWS}]
    answer = explain(run, rows[0]["url"])
    json.dumps(answer, default=str)
    assert len(query(run, "select * from samples").to_pylist()) == ROWS
    write_report(run)
    exported = {}
    for tar in Path(run.folder.path("export")).glob("*/*.tar"):
        with tarfile.open(tar) as members:
            for member in members:
                if member.name.endswith(".json"):
                    row = json.loads(members.extractfile(member).read())
                    exported[row["url"]] = row
    assert exported.keys() == {row["url"] for i, row in enumerate(rows) if i not in odd_rows}
    for name in names if len(names) == 1 else []:
        shown = [exported[row["url"]][name] for row in rows if row["url"] in exported]
        assert shown[:2] == EXPORTED[name], name
    with (lab.folder / "said.txt").open("w") as said:
        forget(run, [("url", rows[7]["url"], "--url")], False, Lines(said))
    reported = stats(Run(run.folder.url))
    assert (reported["conserved"], reported["reasons"]["forgotten"]) == (True, 1)
