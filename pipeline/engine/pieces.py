"""A shard that ends its process is measured in pieces, until it is known which rows do that.

A process works through the pieces in order and hands over each. When it dies, the piece that it was
at is split in eight, and the next process begins there: a row among 10,000 is found in six deaths,
and nothing is measured twice but the rest of the split pieces. A row is at fault if a new process
that begins with it alone dies. If all rows pass, as where the whole was too much for the memory,
none is.
"""

import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.engine.patches import marked, patched_array
from pipeline.engine.plan import Plan
from pipeline.engine.plan_file import load_plan
from pipeline.engine.renewal import Renewal
from pipeline.fetch.web.asking import call_with_limits
from pipeline.measure.decoding import measure_pictures
from pipeline.measure.stage import Output, PictureStage, Stage, TableStage
from pipeline.table.shard import Rows, ShardData
from pipeline.table.tars import members, row_of, write_tar
from pipeline.words.apart import tell
from pipeline.words.errors import DiedError, PartError

SPLIT = 8
"""Into how many pieces one is split."""
MOST_DEATHS = 64
"""Processes that the search in one shard may cost: enough for about ten rows among 10,000."""
MOST_HANGS = 16
"""The same if each of them is first waited for."""
IN_VAIN = 3
"""Rows from different places that end their process, while none passes, show that the stage is at
fault, and not its rows."""

Piece = list[int]
"""Rows of a shard, in order."""


def measure_in_pieces(
    plan: Plan, renewal: Renewal, scratch: Path, stall: float | None = None
) -> tuple[Output, dict[int, str]]:
    """What the stage makes of the rows to be measured now, and on which rows its process died, and
    of what; these are not measured. With `stall`, a process that shows no progress for so many
    seconds is ended.

    DiedError if the search costs too much, or the stage dies without or with any row.
    """
    rows = np.flatnonzero(renewal.measured).tolist()
    todo: deque[Piece] = deque([[], *_split(rows)])  # the first gives the cells of other rows
    done: list[tuple[Piece, Output]] = []
    killed: dict[int, str] = {}
    deaths = 0
    while todo:
        place, before = scratch / f"process-{deaths}", len(done)
        place.mkdir()
        try:
            call_with_limits(
                _measure, plan.run.folder.url, plan.digest, renewal.node.name, renewal.data.shard,
                list(todo), place, note=lambda output: done.append((todo.popleft(), output)),
                stall=stall,
            )  # fmt: skip
        except DiedError as error:
            if not todo:
                break
            deaths += 1
            piece = todo[0]
            has_passed = any(rows for rows, _ in done)
            if len(piece) > 1:
                todo.popleft()
                todo.extendleft(reversed(_split(piece)))
            elif piece and len(done) == before:
                todo.popleft()
                killed[piece[0]] = error.cause
                if not has_passed:
                    todo.rotate(1)  # whether any row passes is best seen elsewhere
            most = MOST_DEATHS if stall is None else MOST_HANGS
            if not piece or deaths == most or (len(killed) >= IN_VAIN and not has_passed):
                raise _given_up(error, len(rows), deaths, killed) from error
    return _joined(renewal, done, killed, scratch), killed


def _split(rows: Sequence[int]) -> list[Piece]:
    size = max(1, -(-len(rows) // SPLIT))
    return [list(rows[at : at + size]) for at in range(0, len(rows), size)]


def _given_up(error: DiedError, rows: int, deaths: int, killed: Mapping[int, str]) -> DiedError:
    found = f"{len(killed)} rows found that do it alone" if killed else "no row does it alone"
    return DiedError(
        f"{error.cause}; {deaths + 1} processes died of its {rows:,} rows in whole or in pieces "
        f"({found}), so the search for the rows was given up",
        error.of_memory,
    )


def _measure(
    run_url: str, plan_digest: str, name: str, shard: int, pieces: Sequence[Piece], folder: Path
) -> None:
    """In a process of its own: measure the pieces in order, and hand over each when it is done.

    The first piece of all has no rows and is handed over whole, of others only their own rows.
    """
    plan = load_plan(run_url, plan_digest)
    data, stage = plan.data(shard), plan.by_name[name].stage
    count = data.table().num_rows
    for number, rows in enumerate(pieces):
        place = folder / str(number)
        place.mkdir()
        output = _measure_rows(stage, data, marked(count, rows), place)
        files = {suffix: place / f"piece.{suffix}" for suffix in output.files}
        for suffix, path in output.files.items():
            shutil.move(path, files[suffix])
        tell(Output(output.table.take(rows) if rows else output.table, files, output.summary))


def _measure_rows(stage: Stage, data: ShardData, rows: Rows, scratch: Path) -> Output:
    if isinstance(stage, PictureStage):
        return measure_pictures(data, [stage], {stage.name: rows}, scratch)[stage.name]
    assert isinstance(stage, TableStage)
    return stage.run(replace(data, scratch=scratch), rows)


def _joined(
    renewal: Renewal,
    done: Sequence[tuple[Piece, Output]],
    killed: Mapping[int, str],
    scratch: Path,
) -> Output:
    """One output from those of the pieces, the first of which holds the cells of all other rows."""
    stage, (_, base) = renewal.node.stage, done[0]
    place, at = np.arange(base.table.num_rows), base.table.num_rows
    for rows, _ in done[1:]:
        place[rows] = np.arange(at, at + len(rows))
        at += len(rows)
    table = pa.concat_tables(output.table for _, output in done).take(pa.array(place))
    table = stage.with_killed(table.combine_chunks(), killed)
    files = {suffix: scratch / f"joined.{suffix}" for suffix in base.files}
    for suffix, path in files.items():
        parts = [(rows, output.files[suffix]) for rows, output in done]
        if suffix.endswith("npy"):
            array = np.load(base.files[suffix], allow_pickle=False)
            for rows, part in parts[1:]:
                array = patched_array(array, np.load(part, allow_pickle=False), rows)
            np.save(path, array, allow_pickle=False)
        elif suffix.endswith("tar"):
            # Pieces are runs of rows, so their tars one after another are in the rows' order.
            ordered = sorted(parts[1:], key=lambda part: part[0])
            found = (one for _, part in ordered for one in members(part))
            write_tar(path, (one for one in found if row_of(one[0]) not in killed), sums=True)
        else:
            raise PartError(f"{stage.name}: no way is known to join pieces of a .{suffix} file")
    summary: dict[str, Any] = {}
    for _, output in done:
        for key, value in output.summary.items():
            if isinstance(value, int):
                summary[key] = summary.get(key, 0) + value
    return Output(table, files, {**(stage.summary(table) or summary), "killed": len(killed)})
