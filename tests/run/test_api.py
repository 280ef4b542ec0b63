"""The door for Python: the page's own script, mappings, errors, the relation."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lab import DASK, Lab

from pipeline import api
from pipeline.words.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_pages_script_runs_once_and_unguarded_on_workers(lab: Lab):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lab.cluster = DASK
    lab.job(lab.site.rows[:12])
    path = lab.folder / "script.py"
    path.write_text("print('started')\n" + script)
    done = subprocess.run(
        [sys.executable, path], cwd=lab.folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    started, answer = done.stdout.splitlines()
    kept, dropped, export = answer.split(" ", 2)
    assert (started, int(kept) + int(dropped)) == ("started", 12)
    assert (Path(export) / "00000.tar").is_file()
    # Served on loopback only, and said.
    assert re.search(r"the tasks can be watched at http://127\.0\.0\.1:\d+/status", done.stderr)


def test_a_mapping_is_a_job_and_its_run_can_be_opened_again(lab: Lab, capsys):
    values = yaml.safe_load(lab.job(lab.site.rows[:6]).read_text())
    finished = api.run(values | {"name": "mine"}, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert finished.folder.endswith("/mine")
    assert finished.stats()["conserved"] is True
    assert api.open_run(finished.folder) == finished
    relation = finished.samples()
    assert relation.aggregate("count(*) as n").fetchall() == [(6,)]
    assert {"uid", "reason", "verdict"} <= set(relation.columns)


def test_overrides_and_errors_are_those_of_the_command(lab: Lab):
    job = lab.job(lab.site.rows[:6])
    assert api.load(job, ["shard_size=3"]).shard_size == 3
    with pytest.raises(InputError, match="unknown key `shardsize`; did you mean `shard_size`"):
        api.load(job, ["shardsize=3"])
    with pytest.raises(InputError, match="`input` is missing"):
        api.load({})
    with pytest.raises(TypeError, match="change the mapping itself"):
        api.load({"input": "x"}, ["shard_size=3"])
    with pytest.raises(InputError):
        api.open_run(lab.folder / "nothing")


def test_the_relation_cannot_read_other_files(lab: Lab):
    finished = api.run(lab.job(lab.site.rows[:3]), quiet=True)
    with pytest.raises(Exception, match=r"Permission|disabled|not allowed"):
        finished.samples().query("s", "select * from read_text('/etc/passwd')").fetchall()
