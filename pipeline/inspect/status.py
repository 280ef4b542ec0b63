"""The progress of a run, and the disk space that it uses."""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.engine.parts import Parts, product_parts
from pipeline.table.part import part_folder
from pipeline.table.run import Run
from pipeline.words.sizes import size


def status(run: Run) -> dict[str, Any]:
    """The run's progress, from its files.

    Keys: `running` (a driver holds the lock; null where the store has no locks), `process` (its
    id, if running), `finished` (end of the last complete run, ISO 8601, or null), `rows_in`,
    `rows`, `shards` (null before the input is dealt), `stages` {name: {done, total, rows, seconds,
    cached, bytes}}, `folders` {folder: {bytes, current}} (part folders of earlier settings are not
    current), `bytes` and `quarantined`.
    """
    index, state = run.index, run.state
    parts = product_parts(run)
    process = lock_owner(run)
    current = {part_folder(part.name, part.fingerprint) for part in parts}
    there = [f"parts/{name}" for name in run.folder.names("parts")]
    folders = {name: {"bytes": disk_bytes(run, name), "current": name in current} for name in there}
    return {
        "running": process is not None if run.folder.is_local else None,
        "process": process or None,
        "finished": state.get("finished"),
        "rows_in": index.rows_in if index else None,
        "rows": index.rows if index else None,
        "shards": len(index) if index else None,
        "stages": {part.name: _stage(run, part) for part in parts},
        "folders": folders,
        "bytes": disk_bytes(run, ""),
        "quarantined": state.get("quarantined", []),
    }


def _stage(run: Run, part: Parts) -> dict[str, Any]:
    return {
        "done": len(part.sidecars),
        "total": part.total,
        "rows": part.rows,
        "seconds": part.seconds,
        "cached": part.cached,
        "bytes": disk_bytes(run, part.folder) if part.folder else part.bytes,
    }


def lock_owner(run: Run) -> str | None:
    """The id of the process that holds the run's lock ("" if unknown); None if none holds it.

    The check takes a shared lock for a moment; a driver that starts in that moment finds the run
    locked, and can be started again.
    """
    path = Path(run.folder.path(".lock"))
    if not run.folder.is_local or not path.exists():
        return None
    with path.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return handle.read().strip()
    return None


def disk_bytes(run: Run, name: str) -> int:
    """Bytes of all files under a folder of the run; 0 if it is not there."""
    fs, root = fsspec.core.url_to_fs(run.folder.url)
    try:
        return int(fs.du(f"{root}/{name}".rstrip("/"), total=True))
    except FileNotFoundError:
        return 0


def render(status: Mapping[str, Any]) -> RenderableType:
    """For the terminal: a line on the run, a bar per stage, the disk space of earlier settings."""
    lines: list[RenderableType] = [_head(status), _stages(status["stages"])]
    old = {name: f["bytes"] for name, f in status["folders"].items() if not f["current"]}
    if old:
        text = f"{size(sum(old.values()))} of parts from earlier settings: {', '.join(sorted(old))}"
        lines.append(Text(text, style="dim"))
    for entry in status["quarantined"]:
        place = f"{entry.get('stage')} shard {entry.get('shard')}"
        lines.append(Text(f"quarantined: {place}: {entry.get('error')}", style="red"))
    return Group(*lines)


def _head(status: Mapping[str, Any]) -> Text:
    if status["running"]:
        owner = f" (process {status['process']})" if status["process"] else ""
        text = Text(f"running{owner}", style="bold cyan")
    elif status["finished"]:
        text = Text(f"finished {status['finished']}", style="bold green")
    else:
        text = Text("stopped before its end; `winnow run` goes on from here", style="bold yellow")
    if status["rows"] is None:
        return text.append(" · the input is not dealt into shards yet", style="")
    counts = f" · {status['rows']:,} rows in {status['shards']:,} shards · {size(status['bytes'])}"
    return text.append(counts, style="")


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("")
    for name in ("shards", "rows", "seconds", "disk"):
        table.add_column(name, justify="right")
    table.add_column("")
    for name, stage in stages.items():
        bar = ProgressBar(total=max(1, stage["total"]), completed=stage["done"], width=24)
        table.add_row(
            name, bar, f"{stage['done']:,}/{stage['total']:,}", f"{stage['rows']:,}",
            f"{stage['seconds']:,.1f}", size(stage["bytes"]), "cached" if stage["cached"] else "",
        )  # fmt: skip
    return table
