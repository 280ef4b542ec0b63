"""What a report was made from, as a digest that the page carries."""

import re
from pathlib import Path
from typing import Any

import pipeline
from pipeline.inspect.parts import stage_parts
from pipeline.run import Run
from pipeline.table import digest_of, file_digest

VERSION = 2
"""Raised when the same run should give another page."""
HERE = Path(__file__).parent
NAME = "report.html"
TRAINING = ("train/log.jsonl", "samples/samples.jsonl", "samples/grid.png")
_MARK = re.compile(rb'<meta name="winnow-source" content="([0-9a-f]{64})">')


def source_digest(run: Run) -> str:
    """sha256 over everything that the page shows; not over when it was last found to stand."""
    state, index = run.state, run.index
    stages = state.get("stages", {})
    parts = stage_parts(run)
    shown: dict[str, Any] = {
        "version": [VERSION, pipeline.__version__],
        "page": {path.name: file_digest(path) for path in sorted(HERE.glob("page.*"))},
        "stages": {name: [s.get("fingerprint"), s.get("models")] for name, s in stages.items()},
        "export": {**(state.get("export") or {}), "cached": None},
        "quarantined": state.get("quarantined"),
        "index": [index.inputs, index.rows_in, index.shards] if index else None,
        "parts": {p.name: {k: s.digest for k, s in p.sidecars.items()} for p in parts},
        "job": run.job,
        "files": {name: _digest(run, name) for name in ("provenance.json", *TRAINING)},
    }
    return digest_of(shown)


def _digest(run: Run, name: str) -> str | None:
    return digest_of(run.folder.read(name).hex()) if run.folder.exists(name) else None


def report_is_current(run: Run) -> bool:
    """Whether `report.html` stands and shows the run as it is now."""
    try:
        mark = _MARK.search(run.folder.read(NAME)[:4_000])
    except FileNotFoundError:
        return False
    return mark is not None and mark[1].decode() == source_digest(run)
