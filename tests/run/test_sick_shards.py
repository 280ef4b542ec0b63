"""A death that no row can answer for, in what a stage over all shards does with one of them or in
the export of one: that shard is quarantined, by name, and the rows of the others are made."""

import json
import signal

import pytest
from lab import INLINE
from test_sick_tasks import listed

pytestmark = pytest.mark.slow


def quarantined(lab, job, inline):
    """Run a job that dies in one shard: its answer, that shard's entry, and the lines said."""
    if inline:  # the command itself dies of it, once
        assert lab.winnow("run", str(job)).returncode == -signal.SIGSEGV
    ended = lab.winnow("run", str(job), "--json")
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    told = json.loads(ended.stdout)
    (lost,) = told["quarantined"]
    return told, lost, ended.stderr.splitlines()


@pytest.mark.parametrize("cluster", [{}, INLINE], ids=["dask", "inline"])
@pytest.mark.parametrize("step", ["prepare", "share"])
def test_a_shard_of_a_stage_over_all_shards(alone, sick, step, cluster):
    rows = listed(alone.site, 30)
    job = alone.job(rows, measure={"rank": {}}, cluster=cluster)
    sick.order(**{step: {rows[7]["caption"]: "SEGV"}})

    told, lost, lines = quarantined(alone, job, inline=bool(cluster))

    at = "rank prepare" if step == "prepare" else "rank"
    shard = lost["shard"]
    assert lost == {"stage": "rank", "shard": shard, "error": "died of signal 11 (SIGSEGV)"}
    assert f"shard {shard:05d} is quarantined at {at}: died of signal 11 (SIGSEGV)" in lines
    counted = (told["ingested"], told["kept"] + told["dropped"], told["unfinished"])
    assert counted == (30, 20, 10)
    assert told["conserved"] is True
    assert told["export"]["rows"] == told["kept"]

    sick.order()
    again = alone.winnow("run", str(job), "--json")
    assert again.returncode == 0, again.stderr
    assert (json.loads(again.stdout)["kept"], json.loads(again.stdout)["conserved"]) == (30, True)


DIES = """
import os, signal
import pipeline.export.shards as module

real = module.json_rows

def json_rows(table):
    for row in real(table):
        if row["caption"] == {caption!r}:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield row

module.json_rows = json_rows
"""


@pytest.mark.parametrize("cluster", [{}, INLINE], ids=["dask", "inline"])
def test_a_shard_of_the_export(alone, tmp_path, monkeypatch, cluster):
    rows = listed(alone.site, 30)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(DIES.format(caption=rows[7]["caption"]))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    job = alone.job(rows, cluster=cluster, export={"shard_size": 10})

    told, lost, lines = quarantined(alone, job, inline=bool(cluster))

    assert (lost["stage"], lost["error"]) == ("export", "died of signal 11 (SIGSEGV)")
    line = f"export shard {lost['shard']:05d} is quarantined at export: {lost['error']}"
    assert line in lines
    assert "winnow: shards of the export are quarantined, so nothing is exported" in lines
    assert told["export"] is None
    assert told["conserved"] is True
    assert told["ingested"] == told["kept"] + told["dropped"] + told["failed"] == 30

    (site / "sitecustomize.py").unlink()
    again = alone.winnow("run", str(job), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["export"]["rows"] == told["kept"]
