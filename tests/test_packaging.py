"""What the distribution declares: every imported package, and the extras of some jobs."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pipeline.demo.jobs import own_job
from pipeline.words.errors import InputError
from pipeline.words.extras import need_extra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"train": ("train",), "pipeline/models/convert_detoxify.py": ("detoxify",),
          "pipeline/models/toxicity_detoxify.py": ("detoxify",),
          "train/toxicity/origin.py": ("fit-toxicity",),
          "pipeline/table/s3.py": ("s3",)}  # fmt: skip
"""Files, by the start of their path, that may import what an extra installs."""


PARTS = {"distributed": "dask", "pydantic-core": "pydantic", "markupsafe": "jinja2"}
"""Distributions that come with a declared one (`dask[distributed]`) and are parts of it."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ;]", name)[0]).lower()


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"pipeline", "train"}


def test_every_imported_package_is_declared():
    distributions = packages_distributions()
    main = set(map(plain, PROJECT["dependencies"]))
    extras = {k: set(map(plain, v)) for k, v in PROJECT["optional-dependencies"].items()}
    missing = set()
    for path in sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "train").rglob("*.py")]):
        name = str(path.relative_to(ROOT))
        own = {extra for start, some in EXTRAS.items() if name.startswith(start) for extra in some}
        allowed = main.union(*(extras[extra] for extra in own))
        for module in imported(path):
            names = set(map(plain, distributions.get(module, [module])))
            if not allowed & {PARTS.get(one, one) for one in names}:
                missing.add((name, module))
    assert missing == set()


def test_every_declared_package_has_a_pin():
    """So that each extra, too, is installed in the version that was resolved with the others."""
    extras = PROJECT["optional-dependencies"].values()
    declared = {plain(one) for some in (PROJECT["dependencies"], *extras) for one in some}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {plain(line) for line in lines if "==" in line}
    assert declared - pinned - {plain(PROJECT["name"])} == set()


def test_a_missing_extra_is_one_line_with_the_command():
    with pytest.raises(InputError) as caught:
        need_extra("train", "train", "json", "no_such_package")
    assert str(caught.value) == (
        "train needs no_such_package: pip install 'winnow-curation[train]'"
    )


@pytest.mark.parametrize("package", ["pipeline", "train"])
def test_every_file_of_a_package_is_in_the_wheel(package: str):
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    here = ROOT / package
    packed = {path for one in patterns["package-data"][package] for path in here.glob(one)}
    files = {path for path in here.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files - packed if path.suffix not in (".py", ".typed")} == set()


def test_winnows_own_jobs_are_files_of_the_package():
    for name in ("demo.yaml", "openclipart.yaml"):
        assert own_job(name).is_file()
        assert own_job(name).samefile(ROOT / "configs" / name)
