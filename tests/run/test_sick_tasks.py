"""A task that ends its process costs the rows that do it, and nothing else."""

import io
import json
import os
import re
import sys

import pytest
from clusters import ROOT
from lab import INLINE, Lab
from test_executors import sidecars

from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.lifecycle.forget import forget
from pipeline.lifecycle.retry import retry
from pipeline.table.run import Run
from pipeline.words.progress import Lines

STAGES = {"measure": {"letters": {}, "light": {}, "dark": {}}}


def listed(site, count=36):
    """Rows of different captions, as faults are ordered by these."""
    rows = site.rows[:count]
    return [{**row, "caption": f"{row['caption']}, no. {i}"} for i, row in enumerate(rows)]


def rows_of(result):
    """The samples by shard and row."""
    found = query(result.run, "select * from samples").to_pylist()
    return {(row["shard"], row["row"]): row for row in found}


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


@pytest.fixture
def calm(site, tmp_path, sick):
    """A run in which nothing dies, and its rows."""
    (tmp_path / "calm").mkdir()
    lab = Lab(site, tmp_path / "calm", INLINE)
    result = lab.run(lab.job(listed(site), **STAGES))
    sick.measured("")
    return result, rows_of(result)


def test_guilty_rows_are_found_and_no_other_is_touched(alone, sick, calm, counts, asked):
    """In one run: the first and the last row of a shard, and a picture in another."""
    whole, right = calm
    captions = {(1, 0): "KILL", (1, 9): "SEGV"}
    pictures = {(0, 4): "EXIT"}
    sick.order(
        caption={right[place]["caption"]: fault for place, fault in captions.items()},
        picture={right[place]["caption"]: fault for place, fault in pictures.items()},
    )
    job = alone.job(listed(alone.site), **STAGES)

    result = alone.run(job)

    assert result.quarantined == []
    rows = rows_of(result)
    for place, row in rows.items():
        own = ("letters",) if place in captions else ("light",) if place in pictures else ()
        if own:
            assert row["reason"] == "worker_killed", place
            assert row[own[0]] is None
            own += ("reason", "reasons", "verdict", "dup_of")
        assert without(row, *own) == without(right[place], *own), place
    found = counts(result)
    assert (found["conserved"], found["failed"]) == (True, 3)
    assert found["reasons"]["worker_killed"] == 3
    before, after = sidecars(whole.run), sidecars(result.run)
    for path in before:
        if ("/00002.json" in path or "/00003.json" in path) and "decide" not in path:
            assert after[path] == before[path], path
    for line in (
        "letters, shard 00001: 2 rows end the process also alone (`worker_killed`)",
        "light, shard 00000: 1 row ends the process also alone (`worker_killed`)",
    ):
        assert line in alone.said
    told = {
        place: explain(result.run, rows[place]["uid"])["summary"]
        for place in (*captions, *pictures)
    }
    died = "failed: worker_killed — {}: the process died of {}"
    assert told[1, 0] == died.format("letters", "signal 9 (SIGKILL)")
    assert told[1, 9] == died.format("letters", "signal 11 (SIGSEGV)")
    assert told[0, 4] == died.format("light", "exit code 4")

    sick.measured("")
    asked.clear()
    again = alone.run(job)
    assert all(again.cached.values())
    assert (sick.measured(""), asked, again.digest) == ([], [], result.digest)

    sick.order()
    _, told = retry(result.run, "reason = 'worker_killed'", None, Lines(io.StringIO()))
    assert (told["matched"], told["measured"], told["fetched"]) == (3, 3, 0)
    assert told["before"] == {"worker_killed": 3}
    assert sorted(sick.measured("")) == [1, 2]
    assert asked == []
    assert rows_of(result) == right


def test_a_row_that_wants_too_much_memory(alone, sick, counts):
    rows = listed(alone.site, 12)
    sick.order(caption={rows[7]["caption"]: "EAT"})
    cluster = {"memory_limit": "700 MiB"}
    result = alone.run(alone.job(rows, measure={"letters": {}}, cluster=cluster))

    assert result.quarantined == []
    (row,) = (row for row in rows_of(result).values() if row["reason"])
    assert (row["url"], row["reason"]) == (rows[7]["url"], "worker_killed")
    assert re.fullmatch(
        r"failed: worker_killed — letters: the process died of memory: "
        r"[67]\d\d MiB held, the worker's limit is 700 MiB",
        explain(result.run, row["uid"])["summary"],
    )
    assert counts(result)["conserved"] is True


def test_a_row_that_hangs(alone, sick, counts):
    rows = listed(alone.site, 12)
    sick.order(caption={rows[7]["caption"]: "HANG"})
    job = alone.job(rows, measure={"letters": {}}, cluster={"stall_timeout": 16})
    result = alone.run(job)

    assert result.quarantined == []
    (row,) = (row for row in rows_of(result).values() if row["reason"])
    assert (row["url"], row["reason"], row["letters"]) == (rows[7]["url"], "worker_killed", None)
    assert explain(result.run, row["uid"])["summary"] == (
        "failed: worker_killed — letters: the process died of a hang (no progress for 8 s)"
    )
    assert counts(result)["conserved"] is True
    assert any(line.endswith("did not get on twice; it is run again by itself")
               for line in alone.said)  # fmt: skip


FETCH = """
import http.client, os, signal

real = http.client.HTTPConnection.putrequest

def putrequest(self, method, url, *words, **more):
    if url == {path!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, method, url, *words, **more)

http.client.HTTPConnection.putrequest = putrequest
"""


def test_a_fetch_that_ends_its_process_on_an_existing_cluster(
    alone, tmp_path, sick, cluster, counts, asked
):
    """The worker's nanny starts it again; a row's caption ends it, too."""
    rows = listed(alone.site, 24)
    sick.order(caption={rows[7]["caption"]: "EXIT"})
    (tmp_path / "sitecustomize.py").write_text(FETCH.format(path="/3.jpg"))
    cluster.env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), *sys.path])}
    cluster.start("worker", "--nthreads", "1", "--nworkers", "2")
    job = alone.job(
        rows, measure={"letters": {}}, cluster={"scheduler": str(cluster.file)},
        download={"thread_count": 4},
    )  # fmt: skip

    result = alone.run(job)

    assert result.quarantined == []
    found = {row["url"]: row for row in rows_of(result).values() if row["reason"]}
    assert set(found) == {rows[7]["url"], rows[3]["url"]}
    fetch, caption = found[rows[3]["url"]], found[rows[7]["url"]]
    assert (fetch["reason"], fetch["status"], fetch["fetch_reason"]) == (
        "worker_killed", "failed", "worker_killed",
    )  # fmt: skip
    assert fetch["error_message"] == "the process died of signal 9 (SIGKILL)"
    assert fetch["letters"] > 0
    assert (caption["reason"], caption["status"]) == ("worker_killed", "success")
    assert counts(result)["conserved"] is True
    assert "/3.jpg" not in asked

    asked.clear()
    assert all(alone.run(job).cached.values())
    assert asked == []


def test_memory_that_cannot_be_had_in_one_process(lab, sick, counts):
    """`executor: inline`: the process that could not get it goes on."""
    rows = listed(lab.site, 12)
    sick.order(caption={rows[7]["caption"]: "HUGE"}, picture={rows[3]["caption"]: "HUGE"})
    result = lab.run(lab.job(rows, **STAGES))

    assert result.quarantined == []
    found = {row["url"]: row for row in rows_of(result).values() if row["reason"]}
    assert set(found) == {rows[7]["url"], rows[3]["url"]}
    assert {row["reason"] for row in found.values()} == {"worker_killed"}
    row = found[rows[3]["url"]]
    assert (row["light"], row["letters"] > 0, row["dark"] > 0) == (None, True, True)
    told = explain(result.run, row["uid"])["summary"]
    assert "light: the process died of memory: Unable to allocate 7.11 PiB" in told
    assert counts(result)["conserved"] is True
    assert any("ran out of memory (Unable to allocate" in line for line in lab.said)


def test_masks_settings_and_takedowns_of_such_rows(lab, sick, asked):
    rows = listed(lab.site, 12)
    urls = [rows[7]["url"], rows[3]["url"]]
    sick.order(caption={rows[7]["caption"]: "HUGE", rows[3]["caption"]: "HUGE"})
    job = lab.job(rows, measure={"letters": {}})

    def reasons(*overrides):
        asked.clear()
        sick.measured("")
        found = rows_of(lab.run(job, *overrides)).values()
        return {row["url"]: row["reason"] for row in found if row["reason"]}

    both = dict.fromkeys(urls, "worker_killed")
    assert reasons() == both
    # A mask that leaves one of them out: what would have been measured of it is of no account.
    mask = f"measure.letters.only_if=url <> '{urls[0]}'"
    assert reasons(mask) == {urls[1]: "worker_killed"}
    assert (sick.measured(""), asked) == ([], [])
    assert reasons() == both
    assert (sick.measured(""), asked) == ([], [])

    run = Run(f"{lab.folder}/runs/job")
    rows = query(run, "select uid, url from samples").to_pylist()
    (uid,) = (row["uid"] for row in rows if row["url"] == urls[0])
    forget(run, [("uid", uid, "--uid")], False, Lines(io.StringIO()))
    found = query(run, "select reason from samples where reason is not null").to_pylist()
    assert sorted(row["reason"] for row in found) == ["forgotten", "worker_killed"]
    assert (sick.measured(""), asked) == ([], [])


def test_rows_that_are_too_much_only_together_are_kept(alone, sick, calm):
    whole, right = calm
    crowd = [right[1, row]["caption"] for row in (0, 3, 5, 9)]
    sick.order(caption=dict.fromkeys(crowd, "CROWD"))
    result = alone.run(alone.job(listed(alone.site), **STAGES))

    assert (result.quarantined, rows_of(result)) == ([], right)
    before, after = sidecars(whole.run), sidecars(result.run)
    assert before == after


def test_a_stage_that_dies_on_every_row_is_given_up(alone, sick):
    rows = listed(alone.site, 20)
    sick.order(caption={row["caption"]: "SEGV" for row in rows})
    job = alone.job(rows, measure={"letters": {}})
    ended = alone.winnow("run", str(job), "--json")

    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    told = json.loads(ended.stdout)
    assert sorted(one["shard"] for one in told["quarantined"]) == [0, 1]
    for one in told["quarantined"]:
        assert one["stage"] == "letters"
        assert re.fullmatch(
            r"died of signal 11 \(SIGSEGV\); \d+ processes died of its 10 rows in whole or in "
            r"pieces \(3 rows found that do it alone\), so the search .* was given up",
            one["error"],
        ), one
    assert len(sick.measured("caption")) <= 2 * (4 + 1 + 3 * 3)
    assert told["conserved"] is True

    sick.order()
    again = alone.winnow("run", str(job), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["kept"] == 20


MERGES = {
    "KILL": r"died of signal 9 \(SIGKILL\)",
    "EAT": r"died of memory: [67]\d\d MiB held, the worker's limit is 700 MiB; start fewer compute "
    r"workers \(`cluster.compute_workers`\), or give them more memory \(`cluster.memory_limit`\)",
}


@pytest.mark.parametrize("fault", MERGES)
def test_a_merge_that_dies_says_so_in_one_line(alone, sick, fault):
    rows = listed(alone.site, 12)
    sick.order(merge={rows[3]["caption"]: fault})
    job = alone.job(rows, measure={"rank": {}}, cluster={"memory_limit": "700 MiB"})
    ended = alone.winnow("run", str(job))

    assert ended.returncode == 3, ended.stderr
    last = ended.stderr.splitlines()[-1]
    goes_on = "the same command goes on from here"
    assert re.fullmatch(f"winnow: rank merge 0 {MERGES[fault]}; {goes_on}", last), last
    assert "Traceback" not in ended.stderr
    sick.order()
    assert alone.winnow("run", str(job)).returncode == 0


def test_a_merge_without_memory_in_one_process(lab, sick):
    rows = listed(lab.site, 12)
    sick.order(merge={rows[3]["caption"]: "HUGE"})
    ended = lab.winnow("run", str(lab.job(rows, measure={"rank": {}})))

    assert ended.returncode == 3, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("winnow: rank merge 0 died of memory: Unable to allocate 7.11 PiB")
    assert last.endswith("; free memory on this machine; the same command goes on from here")
    assert "Traceback" not in ended.stderr
