"""What the command's own process does: it says what it is at, ends when it hangs, and is no worse
off than a worker when a row ends it (`executor: inline`)."""

import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lab import INLINE, Lab
from test_sick_tasks import listed, rows_of

from pipeline.engine import marks
from pipeline.engine.ingest import Ingest
from pipeline.inspect.explain import explain
from pipeline.words import quiet
from pipeline.words.doing import doing, waiting
from pipeline.words.heartbeat import beat

STALL = 16
"""Seconds; a busy machine takes some to start the processes that decode."""
LETTERS = {"measure": {"letters": {}}}


def ended_with(lab: Lab, job: Path, code: int, *more: str) -> list[str]:
    """Run the command; its lines on stderr."""
    ended = lab.winnow("run", str(job), *more)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()


def running(lab: Lab) -> list[str]:
    """The marks that a run has left."""
    return sorted(path.name for path in (lab.folder / "runs" / "job" / "running").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "signal_"), [("SEGV", signal.SIGSEGV), ("KILL", signal.SIGKILL)])
def test_a_row_that_ends_the_command_is_found_by_the_next(lab, sick, counts, fault, signal_):
    """In a caption stage, and then in a stage of pictures: once the command dies of each."""
    rows = listed(lab.site, 36)
    job = lab.job(rows, measure={"letters": {}, "light": {}, "dark": {}})
    calm = Lab(lab.site, lab.folder / "calm")
    calm.folder.mkdir()
    whole = calm.run(calm.job(rows, measure={"letters": {}, "light": {}, "dark": {}}))
    right = rows_of(whole)
    caption, picture = (1, 3), (2, 7)
    sick.order(
        caption={right[caption]["caption"]: fault}, picture={right[picture]["caption"]: fault}
    )

    first = lab.winnow("run", str(job))
    assert first.returncode == -signal_, first.stderr
    assert running(lab) == ["letters-00001.json"]
    second = lab.winnow("run", str(job))
    assert second.returncode == -signal_, second.stderr
    (running_,) = running(lab)
    stages, _, shard = running_.rpartition("-")
    assert (set(stages.split("+")), shard) == ({"dark", "light", "descriptors"}, "00002.json")
    lines = second.stderr.splitlines()
    assert "letters, shard 00001 was running when the last run died; it is run again by itself" in (
        lines
    )
    assert "letters, shard 00001: 1 row ends the process also alone (`worker_killed`)" in lines

    result = lab.run(job)

    assert (result.quarantined, running(lab)) == ([], [])
    found = rows_of(result)
    for place, row in found.items():
        own = {caption: ("letters",), picture: ("light",)}.get(place, ())
        if own:
            assert row["reason"] == "worker_killed", place
            assert row[own[0]] is None
            assert (
                f"the process died of signal {int(signal_)} "
                in (explain(result.run, row["uid"])["summary"])
            )
            own += ("reason", "reasons", "verdict", "dup_of")
        for name in set(row) - set(own):
            assert row[name] == right[place][name], (place, name)
    assert counts(result)["conserved"] is True
    assert counts(result)["failed"] == 2
    assert all(lab.run(job).cached.values())


@pytest.mark.slow
def test_a_stage_that_always_ends_the_command_is_quarantined_each_time(lab, sick):
    """Not in turns: ended, quarantined, ended, quarantined …"""
    rows = listed(lab.site, 8)
    sick.order(caption={row["caption"]: "SEGV" for row in rows})
    job = lab.job(rows, **LETTERS)
    assert lab.winnow("run", str(job)).returncode == -signal.SIGSEGV
    for _ in range(2):
        last = ended_with(lab, job, 3)[-1]
        assert re.match(r"winnow: every shard is quarantined|winnow: shard 00000 is quarant", last)
        assert "died of signal 11 (SIGSEGV)" in last
        assert running(lab) == ["letters-00000.json"]
    sick.order()
    result = lab.run(job)
    assert (result.quarantined, running(lab)) == ([], [])
    assert len(rows_of(result)) == 8


@pytest.mark.slow
def test_a_row_that_hangs_in_one_process(lab, sick, counts):
    rows = listed(lab.site, 20)
    sick.order(caption={rows[7]["caption"]: "HANG"})
    job = lab.job(rows, cluster={**INLINE, "stall_timeout": STALL}, **LETTERS)
    (place,) = [place for place, row in _dealt(lab, job).items() if row == rows[7]["url"]]
    shard = f"{place[0]:05d}"
    last = ended_with(lab, job, 3)[-1]

    missing = 2 - place[0]
    assert last == (
        f"winnow: letters, shard {shard}: no progress for {STALL} s (cluster.stall_timeout), so "
        f"the run ends; left: letters ({missing} of 2 shards), download (2 of 2 shards), "
        "descriptors (2 of 2 shards), pairs, dedup, decide, export, report; the same command "
        "goes on from here"
    )
    assert json.loads((lab.folder / f"runs/job/running/letters-{shard}.json").read_text()) == {
        "names": ["letters"], "step": "", "key": place[0], "has_hung": True,
    }  # fmt: skip

    result = lab.run(job)

    assert (result.quarantined, running(lab)) == ([], [])
    why = f"did not get on for {STALL} s in the last run"
    assert f"letters, shard {shard} {why}; it is run again by itself" in lab.said
    (row,) = (row for row in rows_of(result).values() if row["reason"])
    assert (row["url"], row["reason"]) == (rows[7]["url"], "worker_killed")
    assert explain(result.run, row["uid"])["summary"] == (
        "failed: worker_killed — letters: the process died of a hang (no progress for 8 s)"
    )
    assert counts(result)["conserved"] is True


def _dealt(lab: Lab, job: Path) -> dict[tuple[int, int], str]:
    """URLs by shard and row, from a run of the same list elsewhere."""
    other = Lab(lab.site, lab.folder / "dealt")
    other.folder.mkdir()
    whole = other.run(job, f"output={other.folder}", "measure={}")
    return {place: row["url"] for place, row in rows_of(whole).items()}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["SEGV", "HANG"])
def test_a_merge_in_one_process(lab, sick, fault):
    rows = listed(lab.site, 12)
    sick.order(merge={rows[3]["caption"]: fault})
    job = lab.job(rows, measure={"rank": {}}, cluster={**INLINE, "stall_timeout": STALL})
    first = lab.winnow("run", str(job))
    assert first.returncode == (-signal.SIGSEGV if fault == "SEGV" else 3), first.stderr
    died = "signal 11 (SIGSEGV)" if fault == "SEGV" else "a hang (no progress for 8 s)"
    for _ in range(2):
        last = ended_with(lab, job, 3)[-1]
        assert last == f"winnow: rank merge 0 died of {died}; the same command goes on from here"
    sick.order()
    assert ended_with(lab, job, 0)
    assert running(lab) == []


HANGS_IN = """
import time
import {module} as module

def hang(*args, **kwargs):
    time.sleep(600)

{what} = hang
"""
OWN_WORK = {
    "ingest": ("pipeline.ingest.deal", "module.merge"),
    "report": ("pipeline.inspect.report.write", "module.gather"),
    "export": ("pipeline.export.finish", "module.write_about"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN_WORK)
def test_what_the_driver_makes_itself_is_watched_too(alone, tmp_path, monkeypatch, name):
    module, what = OWN_WORK[name]
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HANGS_IN.format(module=module, what=what))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    job = alone.job(alone.site.rows[:6], cluster={**INLINE, "stall_timeout": STALL})
    last = ended_with(alone, job, 3)[-1]

    assert last.startswith(
        f"winnow: {name}: no progress for {STALL} s (cluster.stall_timeout), so the run ends; "
        "left: "
    )
    assert last.endswith("; the same command goes on from here")
    (tmp_path / "site" / "sitecustomize.py").unlink()
    assert ended_with(alone, job, 0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "EVERY", 0.2)
    monkeypatch.setattr(quiet, "QUIET", 1.5)


def test_a_quiet_run_says_what_it_is_at_once(lab, impatient, monkeypatch) -> None:
    real = Ingest.make

    def slow(self: Ingest, work: Any) -> Any:
        time.sleep(3.5)
        return real(self, work)

    monkeypatch.setattr(Ingest, "make", slow)
    lab.run(lab.job(lab.site.rows[:6]))

    (line,) = (line for line in lab.said if line.startswith("no progress"))
    assert re.fullmatch(
        r"no progress for [12] s: at ingest, begun [12] s ago; the run ends after 3600 s "
        r"\(cluster\.stall_timeout\)",
        line,
    )


def test_work_that_gets_on_and_work_that_waits_for_others_is_left_alone(impatient) -> None:
    said: list[str] = []
    with quiet.watching(said.append, 2.0):
        end = time.monotonic() + 4
        while time.monotonic() < end:
            time.sleep(0.1)
            threading.Thread(target=beat).start()  # helpers count
        with waiting():
            time.sleep(4)
    assert said == []


def test_outside_a_command_nobody_ends_the_process(impatient) -> None:
    """In a notebook the line is said, once, and names what hangs among several threads."""
    said: list[str] = []

    def busy() -> None:
        with doing("letters, shard 00002"):
            end = time.monotonic() + 5
            while time.monotonic() < end:
                beat()
                time.sleep(0.1)

    def hangs() -> None:
        with doing("letters, shard 00001"):
            time.sleep(5)

    threads = [threading.Thread(target=work) for work in (busy, hangs)]
    with quiet.watching(said.append, 2.0), waiting():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert said == [
        "letters, shard 00001: no progress for 2 s (cluster.stall_timeout); it cannot be stopped "
        "from within, so end this process yourself"
    ]


def test_marks_of_tasks_that_are_grouped_in_another_way() -> None:
    both, one = marks.Mark(("light", "dark"), "", 1), marks.Mark(("dark",), "", 1)
    assert both.is_of(one)
    assert not both.is_of(marks.Mark(("dark",), "", 2))
    assert not both.is_of(marks.Mark(("letters",), "", 1))
    assert not marks.Mark(("rank",), "prepare", 1).is_of(marks.Mark(("rank",), "", 1))
