"""A task that ends its process costs the rows that do it, and nothing else."""

import io
from collections import Counter

import pytest
from lab import INLINE, Lab
from sick import Sick
from test_executors import sidecars

from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.lifecycle.retry import retry
from pipeline.measure import registry as stages
from pipeline.words.progress import Lines

STAGES = {"measure": {"letters": {}, "light": {}, "dark": {}}}


@pytest.fixture
def sick(tmp_path, monkeypatch):
    found = Sick(tmp_path / "sick-stages")
    monkeypatch.syspath_prepend(found.site)
    monkeypatch.setenv("PYTHONPATH", str(found.site), prepend=":")
    stages.registered.cache_clear()
    yield found
    stages.registered.cache_clear()


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
    """In one run: the first and the last row of a shard, a picture in another, and two in a third;
    the fourth shard is innocent."""
    whole, right = calm
    captions = {(1, 0): "KILL", (1, 9): "SEGV"}
    pictures = {(0, 4): "EXIT", (3, 0): "KILL", (3, 5): "SEGV"}
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
    assert (found["conserved"], found["failed"]) == (True, 5)
    assert found["reasons"]["worker_killed"] == 5
    before, after = sidecars(whole.run), sidecars(result.run)
    for path in before:
        if "/00002.json" in path and "decide" not in path:
            assert after[path] == before[path], path
    for name in ("letters, shard 00001: 2 rows", "light, shard 00000: 1 row",
                 "light, shard 00003: 2 rows"):  # fmt: skip
        assert any(line.startswith(f"{name} end") for line in alone.said), "\n".join(alone.said)
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
    assert (told["matched"], told["measured"], told["fetched"]) == (5, 5, 0)
    assert told["before"] == {"worker_killed": 5}
    assert Counter(sick.measured("caption")) == {2: 1}
    assert sorted(sick.measured("picture")) == [1, 2]
    assert asked == []
    rows = rows_of(result)
    assert {p: without(r) for p, r in rows.items()} == right
