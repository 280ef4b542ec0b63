"""Removes logged errors that quote rows which were taken down."""

import json
from collections.abc import Iterable
from typing import Any

from pipeline.engine.erase.journal import Journal
from pipeline.table.parquet import read_parquet
from pipeline.table.run import Run
from pipeline.table.runlog import NAME as LOG
from pipeline.table.runlog import log_line
from pipeline.table.sealed import seal

STATE = "state.json"
CUT = "[cut: it quoted a row that was taken down]"


def cut_quotes(run: Run, journal: Journal) -> None:
    """Remove the errors in the log and the state that quote one of the rows.

    This is the first step of an erasure: the shards still hold the text to look for.
    """
    words = sorted({*journal.uids, *_words(run, journal)})
    state = run.state
    for lost in state.get("quarantined") or ():
        lost["error"] = _cut(lost.get("error"), words)
    if state:
        # Marked as unfinished, so that verdicts and export are renewed even after a kill.
        run.folder.write(STATE, seal(state | {"finished": None}))
    if run.folder.exists(LOG):
        lines = run.folder.read(LOG).decode(errors="replace").splitlines()
        run.folder.write(LOG, "".join(f"{_line(line, words)}\n" for line in lines).encode())


def _words(run: Run, journal: Journal) -> Iterable[str]:
    for name, rows in journal.held["ingest"].items():
        table = read_parquet(run.folder, f"shards/{name}.parquet", ["url", "caption"]).take(rows)
        for column in table.columns:
            yield from (text for text in column.to_pylist() if text and text.strip())


def _line(line: str, words: list[str]) -> str:
    if '"error"' not in line:
        return line
    try:
        values = json.loads(line)
    except ValueError:
        return line  # the last line of a driver that was killed while it wrote
    error = values.get("error")
    cut = _cut("".join(error) if isinstance(error, list) else error, words)
    return log_line(values | {"error": cut}) if cut == CUT else line


def _cut(error: Any, words: list[str]) -> Any:
    return CUT if any(word in str(error) for word in words) else error
