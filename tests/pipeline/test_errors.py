"""Bad input: one clear line, exit 2, and nothing written."""

import fcntl
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from bad_input import CASES, ROWS, rule

from pipeline.shell import cli


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with rows.csv in it and without access to a hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / ".hub"))
    (tmp_path / "rows.csv").write_text(ROWS)
    return tmp_path


def bare(job: dict[str, Any]) -> dict[str, Any]:
    """The job without the models that it does not name, so that checks are quick."""
    values: dict[str, Any] = {"input": "rows.csv", "output": "runs", "name": "case"} | job
    if isinstance(values.get("captions", {}), dict):
        values["captions"] = {"toxicity": None, "language": False} | values.get("captions", {})
    if isinstance(values.get("images", {}), dict):
        values["images"] = {"nsfw": None} | values.get("images", {})
    return {"rules": []} | values


def winnow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[Any, str, str]:
    """The command in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["winnow", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return end.value.code, out, err


def refused(monkeypatch, capsys, *words: str) -> str:
    """The one-line error of the command."""
    code, out, err = winnow(monkeypatch, capsys, *words)
    assert code == 2, err
    assert out == ""
    assert err.startswith("winnow: ")
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_in_one_line(desk, monkeypatch, capsys, case: str, command: str):
    prepare, job, expected = CASES[case]
    if prepare is not None:
        prepare(desk)
    (desk / "job.yaml").write_text(yaml.safe_dump(bare(job)))
    line = refused(monkeypatch, capsys, command, "job.yaml")
    for words in expected:
        assert words in line
    assert not (desk / "runs").exists()


JOB_FILES: dict[str, tuple[bytes | None, list[str]]] = {
    "not there": (None, ["job.yaml does not exist", "jobs.yaml?"]),
    "not yaml": (b"input: [rows.csv\nname: x", ["job.yaml is not YAML", "line 2"]),
    "a tag that builds objects": (
        b"input: !!python/object/apply:os.system ['true']", ["job.yaml is not YAML"],
    ),
    "a list": (b"- input: rows.csv", ["a job is a mapping of keys"]),
    "empty": (b"", ["a job is a mapping of keys"]),
    "not utf-8": (b"input: caf\xe9.csv", ["job.yaml cannot be read"]),
    "no input": (b"name: x", ["key `input` is missing", "input: pairs.parquet"]),
    "a key that is a number": (b"input: rows.csv\n1: x", ["the key 1 is no text"]),
    "input is a number": (b"input: 5", ["`input`", "(given: 5)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", JOB_FILES)
def test_a_file_that_is_not_a_job_is_refused(desk, monkeypatch, capsys, case: str):
    data, expected = JOB_FILES[case]
    (desk / "jobs.yaml").write_text("input: rows.csv")
    if data is not None:
        (desk / "job.yaml").write_bytes(data)
    line = refused(monkeypatch, capsys, "run", "job.yaml")
    for words in expected:
        assert words in line
    assert not (desk / "runs").exists()


OVERRIDES = {
    "shard_size": ["--set shard_size", "expected `key.key=value`"],
    "=5": ["expected `key.key=value`"],
    "shard_size=[": ["--set shard_size=[", "the value is not YAML"],
    "shard_sise=5": ["unknown key `shard_sise`", "`shard_size`"],
    "download.image_sise=5": ["`download.image_sise`", "`image_size`"],
    "name.x=5": ["--set name.x=5", "`name` has no keys"],
    "rules.7.when=true": ["--set rules.7.when=true", "`rules.7` has no keys"],
    "rules.when=true": ["--set rules.when=true", "there is no `rules.when`"],
    "rules.0.when=tru": ["rules[0].when", "`tru`"],
    "shard_size=0": ["`shard_size`", "(given: 0)"],
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override_is_refused(desk, monkeypatch, capsys, override: str):
    (desk / "job.yaml").write_text(yaml.safe_dump(bare(rule("true"))))
    line = refused(monkeypatch, capsys, "run", "job.yaml", "--set", override)
    for words in OVERRIDES[override]:
        assert words in line
    assert not (desk / "runs").exists()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_of_another_job_is_refused_and_not_changed(desk, monkeypatch, capsys):
    other = desk / "other.yaml"
    other.write_text("input: rows.csv")
    (desk / "runs" / "case").mkdir(parents=True)
    resolved = {"input": "rows.csv", "job_file": str(other.resolve())}
    (desk / "runs" / "case" / "resolved.json").write_text(json.dumps(resolved))
    before = _contents(desk / "runs")
    (desk / "job.yaml").write_text(yaml.safe_dump(bare({})))
    line = refused(monkeypatch, capsys, "run", "job.yaml")
    assert f"belongs to the job {other}" in line
    assert "give this one another `name` or `output`" in line
    assert _contents(desk / "runs") == before


def test_a_folder_that_is_not_a_run_is_refused_and_not_changed(desk, monkeypatch, capsys):
    (desk / "runs" / "case").mkdir(parents=True)
    (desk / "runs" / "case" / "thesis.tex").write_text("all my work")
    before = _contents(desk / "runs")
    (desk / "job.yaml").write_text(yaml.safe_dump(bare({})))
    line = refused(monkeypatch, capsys, "run", "job.yaml")
    assert "holds files that are no run's (thesis.tex, …)" in line
    assert _contents(desk / "runs") == before


def test_a_locked_folder_names_the_process(desk, monkeypatch, capsys):
    folder = desk / "runs" / "case"
    folder.mkdir(parents=True)
    (desk / "job.yaml").write_text(yaml.safe_dump(bare({})))
    with (folder / ".lock").open("a+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        owner.write("4711")
        owner.flush()
        line = refused(monkeypatch, capsys, "run", "job.yaml")
    assert "is locked by a running winnow (process 4711)" in line
    assert [p.name for p in folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("command", ["status", "stats", "report"])
def test_the_nearest_run_is_suggested_for_a_folder_that_is_not_one(
    desk, monkeypatch, capsys, command: str
):
    (desk / "runs" / "case").mkdir(parents=True)
    (desk / "runs" / "case" / "resolved.json").write_text("{}")
    line = refused(monkeypatch, capsys, command, "runs")
    assert "runs is not a run folder" in line
    assert "did you mean runs/case?" in line


def test_a_valid_job_is_planned(desk, monkeypatch, capsys):
    """The other cases fail for their own reason, because the plain job is valid."""
    (desk / "job.yaml").write_text(yaml.safe_dump(bare({})))
    monkeypatch.setattr(sys, "argv", ["winnow", "plan", "job.yaml", "--json"])
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    stages = [row["stage"] for row in json.loads(out.getvalue())["stages"]]
    parts = ["captions", "pii", "download", "dedup", "decide"]
    assert stages == ["ingest", *parts, "export", "report"]
    assert not (desk / "runs").exists()
