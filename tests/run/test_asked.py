"""Readers of a run that another command changes at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.inspect.asked import asked
from pipeline.inspect.stats import stats
from pipeline.lifecycle.forget import forget
from pipeline.table.run import Run
from pipeline.words.errors import DamagedError, StoppedError
from pipeline.words.progress import Lines

OWNER = """
import sys
from pipeline.table.run import Run
with Run(sys.argv[1]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(lab) -> Run:
    return lab.run(lab.job()).run


def _take_down(run: Run, url: str) -> None:
    with Path(run.folder.path("said.tmp")).open("w") as stream:
        forget(Run(run.folder.url), [("url", url, "--url")], False, Lines(stream))


def test_a_takedown_between_two_looks_is_no_damage(run, lab):
    """A part is looked for where it was, and its checksum compared with the one of before."""
    seen = []

    def ask(run: Run) -> int:
        (parts,) = (one for one in run.state["products"] if one == "decide")
        folder = run.state["products"][parts]["folder"]
        before = run.folder.read(f"{folder}/00000.parquet")
        if not seen:
            seen.append(1)
            _take_down(run, lab.site.rows[0]["url"])
        if run.folder.read(f"{folder}/00000.parquet") != before:
            raise DamagedError("was cut or changed from outside")
        return stats(run)["reasons"]["forgotten"]

    assert asked(run.folder.url, ask) == 1


def test_an_error_without_any_change_is_raised_at_once(run):
    calls = []

    def ask(_: Run) -> None:
        calls.append(1)
        raise FileNotFoundError("parts/x")

    with pytest.raises(FileNotFoundError, match="parts/x"):
        asked(run.folder.url, ask)
    assert len(calls) == 1


def test_damage_without_any_change_is_damage(run):
    folder = run.state["products"]["decide"]["folder"]
    path = Path(run.folder.path(f"{folder}/00000.parquet"))
    path.write_bytes(bytes(len(path.read_bytes())))

    with pytest.raises(DamagedError, match="was cut or changed from outside"):
        asked(run.folder.url, stats)


@pytest.mark.slow
def test_a_run_that_goes_on_changing_is_named(run):
    def ask(_: Run) -> None:
        raise FileNotFoundError("parts/x")

    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, run.folder.url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    assert owner.stdout.readline() == "locked\n"

    with pytest.raises(StoppedError) as caught:
        asked(run.folder.url, ask)
    owner.communicate("")

    assert str(caught.value) == (
        f"{run.folder.url} is being changed by process {owner.pid}, and could not be read "
        "meanwhile (parts/x); ask again when that has ended"
    )
