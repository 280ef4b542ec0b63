"""The Dockerfile agrees with the project. `tests/image.sh` builds it and runs the demo in it."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from pipeline.words.threads import VARIABLE

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXT = (ROOT / "Dockerfile").read_text()
STEPS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in re.sub(r"\\\n\s*", "", TEXT).splitlines()
    if line and not line.startswith("#")
]


def said(word: str) -> list[str]:
    return [rest for step, rest in STEPS if step == word]


def copied() -> set[str]:
    """What is copied from this folder."""
    found = [rest.split() for rest in said("COPY") if not rest.startswith("--from")]
    return {source for words in found for source in words[:-1]}


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied()
    assert all((ROOT / source).exists() for source in copied())
    assert any(fnmatch("pipeline/__pycache__", line) for line in ignored[1:])


def test_all_that_the_build_of_the_package_needs_is_copied() -> None:
    project = PROJECT["project"]
    needed = {project["readme"], *project["license-files"], "pyproject.toml", "constraints.txt"}
    packages = {
        one.rstrip("*") for one in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert needed | packages == copied()


def test_extras_and_commands_exist() -> None:
    (extras,) = [
        rest.split("=")[1].split(",") for rest in said("ARG") if rest.startswith("EXTRAS=")
    ]
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert "train" in extras  # the demo trains
    assert said("ENTRYPOINT") == ['["winnow"]']
    assert "winnow" in PROJECT["project"]["scripts"]


def test_it_runs_as_nobody_in_particular_and_stops_as_by_ctrl_c() -> None:
    last = [step for step, _ in STEPS]
    assert last.index("USER") > max(i for i, step in enumerate(last) if step == "RUN")
    assert said("USER") == ["1000"]
    assert said("STOPSIGNAL") == ["SIGINT"]


def test_the_script_for_slurm_sets_the_threads_that_winnow_reads() -> None:
    assert VARIABLE in (ROOT / "deploy" / "slurm" / "run.py").read_text()
