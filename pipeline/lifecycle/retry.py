"""`winnow retry`: fetches the rows again that an SQL boolean selects.

Those on which a measuring process died are measured again instead, if their picture is there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.parts import Parts, stage_parts
from pipeline.engine.plan import Plan
from pipeline.engine.renewal import wanted_rows
from pipeline.engine.runner import Result, bring_up_to_date, products_of, replan, tidy
from pipeline.inspect.files import raise_if_not_sql
from pipeline.inspect.plain import rows
from pipeline.inspect.view import connect
from pipeline.table.run import Run
from pipeline.table.sql import columns_of
from pipeline.words.errors import InputError
from pipeline.words.progress import Reporter

PLACE = "--where"
ONLY_IF, UNFINISHED = "only_if", "unfinished"
"""Why a row without an input error is left out: `only_if` excludes it, or its shard is not done."""
MEASURED = "measured again"
"""Why a row is not fetched that is measured again."""

_CELLS = (
    "shard, row, coalesce(reason, verdict) AS reason, coalesce(input_error, "
    f"CASE WHEN status IS NULL THEN '{UNFINISHED}' WHEN status = 'skipped' THEN '{ONLY_IF}' "
    "WHEN status = 'invalid' THEN 'invalid' END) AS out, status = 'success' AS has_picture"
)


@dataclass(frozen=True)
class Chosen:
    """The rows that the SQL matches: `table` holds shard, row, reason and `out`.

    `out` says why a row is left out; it is null for rows to fetch again, and MEASURED for those in
    `killed`: rows to measure again, by stage and shard.
    """

    table: pa.Table
    killed: Mapping[str, Mapping[int, Sequence[int]]] = field(default_factory=dict)

    @property
    def again(self) -> dict[int, list[int]]:
        """Rows to fetch, by shard."""
        return _by_shard(self.table.filter(pc.is_null(self.table["out"])))

    @property
    def left_out(self) -> dict[str, int]:
        counts = _counts(self.table["out"].drop_null())
        return {why: count for why, count in counts.items() if why != MEASURED}

    @property
    def measured(self) -> int:
        """How many rows are measured again and not fetched."""
        return pc.sum(pc.equal(self.table["out"], MEASURED)).as_py() or 0


def _by_shard(table: pa.Table) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for shard, row in zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True):
        found.setdefault(shard, []).append(row)
    return {shard: sorted(found[shard]) for shard in sorted(found)}


def retry(
    run: Run, where: str, scheduler: str | None, reporter: Reporter
) -> tuple[Result | None, dict[str, Any]]:
    """Fetch the matched rows again and bring what depends on them up to date.

    The second value holds `matched`, `left_out`, `left_out_by` {why: rows}, `fetched` (rows that
    have a picture now), `failed_again` {reason: rows}, and `before` and `after` {reason: rows} over
    all matched rows; if there are any, also `measured` (rows that were not fetched, but measured
    again, as a process had died on them). The first is None if there was nothing to do.

    InputError, before any work: no finished download parts, a model that is not available, SQL that
    is not a boolean over `samples`.
    """
    with run.folder.hold():
        plan = replan(run, scheduler)
        _check(run, plan, where)
    with run.locked(reporter.say):
        tidy(run, reporter)
        with run.folder.hold():
            chosen = _find_killed(run, _apply_masks(plan, choose(run, where)))
        again, measure = chosen.again, chosen.killed
        count = sum(map(len, again.values()))
        line = f"retry: {rows(chosen.table.num_rows)} matched, {count:,} to fetch again"
        if killed := chosen.measured:
            line += f", {killed:,} to measure again"
        reporter.say(line)
        result = None
        # A run that was stopped is finished, even if no row is to be fetched.
        if again or measure or not run.state.get("finished"):
            result = bring_up_to_date(
                plan, products_of(plan), reporter, again=again, measure=measure, asked=False
            )
    with run.folder.hold():
        return result, _outcome(run, chosen)


def _check(run: Run, plan: Plan, where: str) -> None:
    parts = _parts_with_downloads(run, plan)
    with connect(run, parts=parts) as db:
        schema = db.sql("SELECT * FROM samples LIMIT 0").to_arrow_table().schema
    columns_of(where, {field.name: field.type for field in schema}, PLACE)


def _parts_with_downloads(run: Run, plan: Plan) -> list[Parts]:
    """The run's parts; InputError if no shard's download is among them."""
    parts = stage_parts(run)
    today = plan.by_name["download"].fingerprint
    if not any(p.name == "download" and p.fingerprint == today and p.sidecars for p in parts):
        job = run.job.get("job_file") or "JOB.yaml"
        raise InputError(
            f"{run.folder.url} has no finished download parts to try again; "
            f"`winnow run {job}` fetches first"
        )
    return parts


def choose(run: Run, where: str) -> Chosen:
    """The rows of `samples` for which `where` is true. InputError if it fails on a row's values."""
    with connect(run) as db:
        try:
            query = f"SELECT {_CELLS} FROM samples WHERE ({where}\n)"  # noqa: S608 - the user's own
            found = db.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise_if_not_sql(run, error)
            line = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)
            raise InputError(
                f"{PLACE}: {line}; use try_cast or `case when` for such rows"
            ) from error
    return Chosen(found)


def _apply_masks(plan: Plan, chosen: Chosen) -> Chosen:
    """Mark as left out the rows that today's masks exclude, but an earlier run has fetched."""
    node, table = plan.by_name["download"], chosen.table
    if not node.masks:
        return chosen
    rows, out = table["row"].to_numpy(), table["out"].to_pylist()
    for shard in pc.unique(table["shard"]).to_pylist():
        wanted = wanted_rows(plan, node, plan.data(shard))
        for place in np.flatnonzero(pc.equal(table["shard"], shard).to_numpy()).tolist():
            if out[place] is None and not wanted[rows[place]]:
                out[place] = ONLY_IF
    column = pa.array(out, pa.string())
    return Chosen(table.set_column(table.column_names.index("out"), "out", column))


def _find_killed(run: Run, chosen: Chosen) -> Chosen:
    """Mark the rows to be measured again: those on which a process died that measured them."""
    table = chosen.table
    killed: dict[str, dict[int, list[int]]] = {}
    died: set[tuple[int, int]] = set()
    matched = {shard: set(rows) for shard, rows in _by_shard(table).items()}
    for part in stage_parts(run):
        for shard, sidecar in part.sidecars.items() if part.name != "download" else ():
            rows = sorted(matched.get(shard, set()) & set(map(int, sidecar.killed)))
            if rows:
                killed.setdefault(part.name, {})[shard] = rows
                died |= {(shard, row) for row in rows}
    if not died:
        return chosen
    out = table["out"].to_pylist()
    places = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
    for i, place in enumerate(places):
        if place in died and (out[i] is not None or table["has_picture"][i].as_py()):
            out[i] = MEASURED
    column = pa.array(out, pa.string())
    return Chosen(table.set_column(table.column_names.index("out"), "out", column), killed)


def _outcome(run: Run, chosen: Chosen) -> dict[str, Any]:
    """The results for the matched rows, read from the files."""
    places = chosen.table.select(["shard", "row", "out"])
    now = _now(run, places)
    tried = now.filter(pc.is_null(now["out"]))
    failed = tried.filter(pc.is_valid(tried["fetch_reason"]))
    measured = {"measured": chosen.measured} if chosen.measured else {}
    return {
        "matched": places.num_rows,
        "left_out": places.num_rows - tried.num_rows - chosen.measured,
        "left_out_by": chosen.left_out,
        "fetched": pc.sum(pc.equal(tried["status"], "success")).as_py() or 0,
        "failed_again": _counts(failed["fetch_reason"]),
        "before": _counts(chosen.table["reason"]),
        "after": _counts(now["reason"]),
        **measured,
    }


def _now(run: Run, places: pa.Table) -> pa.Table:
    with connect(run) as db:
        db.register("places", places)
        return db.sql(
            "SELECT p.out, s.status, s.fetch_reason, coalesce(s.reason, s.verdict) AS reason "
            "FROM samples s JOIN places p ON s.shard = p.shard AND s.row = p.row"
        ).to_arrow_table()


def _counts(words: pa.ChunkedArray) -> dict[str, int]:
    return dict(Counter(words.to_pylist()).most_common())


def lines(answer: dict[str, Any]) -> Sequence[str]:
    """The answer in words."""
    sentences = [f"{rows(answer['matched'])} matched"]
    if answer["left_out"]:
        why = ", ".join(f"{rows:,} {word}" for word, rows in answer["left_out_by"].items())
        sentences.append(f"{answer['left_out']:,} of them left out: {why}")
    failed = ", ".join(f"{rows:,} {word}" for word, rows in answer["failed_again"].items())
    sentences.append(
        f"{answer['fetched']:,} fetched, {sum(answer['failed_again'].values()):,} failed again"
        + (f": {failed}" if failed else "")
    )
    if "measured" in answer:
        sentences.append(f"{rows(answer['measured'])} measured again, and not fetched")
    for when in ("before", "after"):
        counts = ", ".join(f"{rows:,} {word}" for word, rows in answer[when].items())
        sentences.append(f"{when}: {counts or 'none'}")
    return sentences
