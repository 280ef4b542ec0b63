"""No package imports one of a higher layer, and no two import each other in a circle."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCH = sorted((ROOT / "tests" / "bench").glob("*.py"))

# Lowest first. A package may import from its own layer and lower ones, but not in a circle.
LAYERS = (
    ("words",),
    ("table", "config"),
    ("ingest", "fetch", "models"),
    ("measure", "judge"),
    ("export",),
    ("engine",),
    ("inspect", "lifecycle"),
    ("demo",),
    ("shell", "api"),
    ("__main__",),
)
LAYER = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _modules() -> set[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in _files("pipeline"))
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def _imports(path: Path) -> list[str]:
    """Every module that a file imports, at its top or inside a function, in either form."""
    modules, found = _modules(), []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in modules else node.module for name in inner]
    return found


def _package(name: str) -> str | None:
    """The package within `pipeline` of a module's dotted name; None for any other module."""
    parts = name.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 else None


def _package_of(path: Path) -> str | None:
    return _package(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    )


@pytest.mark.parametrize("path", _files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_pipeline_imports_go_down(path):
    own = _package_of(path)
    if own is None:
        return
    assert own in LAYER, f"{own}: a new package; give it a layer here and a line in the docs"
    for name in _imports(path):
        assert name.split(".")[0] != "train", f"{path.name} imports {name}"
        package = _package(name)
        if package is not None:
            assert LAYER[package] <= LAYER[own], f"{path.name} imports {name}, of a higher layer"


def test_no_packages_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in _files("pipeline"):
        own = _package_of(path)
        if own is not None:
            packages = {_package(name) for name in _imports(path)} - {None, own}
            graph.setdefault(own, set()).update(packages)
    order = [*TopologicalSorter(graph).static_order()]  # CycleError names the circle
    assert set(order) == set(LAYER)


def test_an_import_is_seen_in_every_form(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        "from pipeline import shell\nimport pipeline.demo\n"
        "def late():\n    from pipeline.engine import plan\n"
    )
    assert {_package(name) for name in _imports(file)} == {"shell", "demo", "engine"}


@pytest.mark.parametrize("path", _files("train"), ids=lambda p: p.name)
def test_train_imports_only_low_packages(path):
    """Except where it defines products for the engine, and where the demo's models are made."""
    for name in _imports(path):
        package = _package(name)
        if package is not None and LAYER[package] >= LAYER["engine"]:
            allowed = {"handover.py": {"engine"}}.get(path.name, set())
            allowed = {"demo"} if path.parent.name == "demo" else allowed
            assert package in allowed, f"{path.name} imports {name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["pipeline", "pipeline.shell.cli", "pipeline.engine.runner", "pipeline.engine.plan"]
)
def test_importing_the_command_line_loads_neither_torch_nor_dask(module):
    heavy = ("torch", "dask", "distributed")
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_only_executors_import_dask():
    importing = {
        str(path.relative_to(ROOT).parent)
        for package in ("pipeline", "train")
        for path in _files(package)
        if any(name.split(".")[0] in ("dask", "distributed") for name in _imports(path))
    }
    assert importing == {"pipeline/engine/executors"}


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("pipeline", "train")
        for path in _files(package)
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert long == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", sorted((ROOT / "tests" / "bench").glob("*.py")), ids=lambda p: p.name
)
def test_a_script_that_nobody_imports_can_be_imported(script):
    """A name that moved would be noticed by whoever runs it next, months later."""
    run = f"import runpy; runpy.run_path({str(script)!r}, run_name='imported')"
    paths = f"{script.parent}{os.pathsep}{ROOT}"
    ended = subprocess.run(
        [sys.executable, "-c", run], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
