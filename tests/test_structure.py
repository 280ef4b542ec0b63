"""The rooms' order: lower ones know nothing of higher ones."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A room may import from its own level and below.
LEVELS = (
    (
        "errors",
        "plugins",
        "reasons",
        "failure",
        "uid",
        "urls",
        "domains",
        "threads",
        "processes",
        "quiet_exit",
    ),
    ("endings", "storage", "tars"),
    ("table", "sql", "config"),
    ("run", "runlog", "freshness", "merging", "models", "fetch", "neighbours", "tombstones"),
    ("shard", "stage", "rules"),
    ("stages",),
    ("plan", "patches", "renewal", "pictures", "progress"),
    ("tasks", "provenance"),
    ("executors",),
    ("layouts",),
    ("exporting", "inspect", "erasing"),
    ("driver",),
    ("runner",),
    ("retrying", "forgetting"),
    ("commands",),
    ("demo",),
    ("cli",),
    ("reference", "__main__"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Upward on purpose, and only inside functions.
ALLOWED = {
    ("exporting", "inspect"): "the card is written with the export",
    ("inspect", "runner"): "the preview asks the runner's own checks",
}


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Modules imported, and whether at the module's top."""
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        found += [(name, node.col_offset == 0) for name in names]
    return found


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _own_room(path: Path) -> str:
    first = path.relative_to(ROOT / "pipeline").parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", _files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_pipeline_imports_go_one_way(path):
    own = _own_room(path)
    if own == "__init__":
        return
    assert own in LEVEL, f"{path.name}: a new room; give it a level here and a line in the docs"
    for name, at_top in _imports(path):
        if name.startswith("train"):
            assert own in ("commands",), f"{path.name} imports {name}: only commands hands over"
        room = _room(name)
        if name.startswith("pipeline.") and room != own and LEVEL[room] > LEVEL[own]:
            assert (own, room) in ALLOWED, f"{path.name} imports {name}, a higher room"
            assert not at_top, f"{path.name} imports {name} at its top: a higher room"


@pytest.mark.parametrize("path", _files("train"), ids=lambda p: p.name)
def test_train_leans_on_low_rooms_only(path):
    for name, _ in _imports(path):
        if name.startswith("pipeline."):
            room = _room(name)
            assert LEVEL[room] <= LEVEL["stage"] or room == "demo", f"{path.name} imports {name}"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["pipeline", "pipeline.cli", "pipeline.runner", "pipeline.plan"])
def test_importing_the_command_line_loads_neither_torch_nor_dask(module):
    heavy = ("torch", "dask", "distributed")
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_only_executors_know_dask():
    knowing = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "train")
        for path in _files(package)
        if any(name.split(".")[0] in ("dask", "distributed") for name, _ in _imports(path))
    }
    assert knowing == {"pipeline/executors/dask.py", "pipeline/executors/sharing.py"}


def test_files_are_small_rooms():
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("pipeline", "train")
        for path in _files(package)
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert long == {}
