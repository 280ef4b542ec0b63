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

from pipeline.config.load import load_job
from pipeline.shell import cli
from pipeline.words.endings import LONGEST, one_line


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


def doubled(value: str, levels: int) -> bytes:
    """A mapping whose values each stand for seven times the one before."""
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} {value % ', '.join([f'*a{i - 1}'] * 7)}")
    return "\n".join(lines).encode()


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
    "a key in two lines": (b'input: rows.csv\n"a\\nb": 1', ["unknown key `a\\nb`"]),
    # Small files that stand for large values.
    "merged mappings of merged mappings": (
        doubled("{<<: [%s]}", 9), ["job.yaml is refused", "more than 100,000 values", "(line 7,"],
    ),
    "lists of lists by aliases": (
        doubled("[%s]", 12), ["job.yaml is refused", "more than 100,000 values", "(line 7,"],
    ),
    "an alias within itself": (b"input: &a [*a]", ["`*a` stands within its own anchor (line 1,"]),
    "an alias of nothing": (b"input: *a", ["is not YAML: found undefined alias 'a' (line 1,"]),
    "deep lists": (b"input: " + b"[" * 5000, ["more than 50 values are nested here", "(line 1,"]),
    "a long number": (
        b"input: x\nshard_size: " + b"9" * 5000, ["a number of more than 100 characters", "line 2"],
    ),
    "a long number with base 60": (
        b"shard_size: " + b"59:" * 50_000 + b"1", ["a number of more than 100 characters"],
    ),
    "a date that is none": (b"name: 2020-99-99", ["`2020-99-99` is no timestamp; put", "(line 1,"]),
    "a word tagged a truth": (b"name: !!bool maybe", ["`maybe` is no bool"]),
    "NUL in a path": (b'input: "a\\0.csv"', ["a text with NUL", "(line 1,"]),
    "half a character": (b'name: "\\ud800"', ["half a character", "(line 1,"]),
    "a key twice": (b"shard_size: 5\nshard_size: 6", ["`shard_size` is here twice", "(line 2,"]),
    "a huge file": (b"#" * 2_000_000, ["has more than 1,048,576 bytes", "name the folder"]),
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
    "name=" + "[" * 5000: ["--set name=[[[", " … ", "more than 50 values are nested here"],
    "shard_size=" + "9" * 5000: ["a number of more than 100 characters"],
    ".".join(["measure"] * 99) + "=1": ["more than 50 keys within each other"],
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


def test_an_empty_name_is_that_of_the_job_file(desk):
    for text in ("input: rows.csv\nname:\n", "input: rows.csv\n"):
        (desk / "cats.yaml").write_text(text)
        assert load_job(desk / "cats.yaml").name == "cats"
    assert load_job(desk / "cats.yaml", ["name="]).name == "cats"


def test_aliases_of_rules_stand_for_what_they_name(desk):
    text = (
        "input: rows.csv\nrules:\n- &pii {reason: pii, when: 'true'}\n- {<<: *pii, if_null: drop}"
    )
    (desk / "job.yaml").write_text(text)
    assert [rule.reason for rule in load_job(desk / "job.yaml").rules] == ["pii", "pii"]


def test_an_error_is_one_line_of_bounded_length_whatever_it_names():
    assert one_line("a\nb\x1b[31m\u202ec\ud800") == "a\\nb\\x1b[31m\\u202ec\\ud800"
    assert one_line("ein Känguru 袋鼠\u3000🦘") == "ein Känguru 袋鼠\u3000🦘"
    line = one_line("x" * 100_000 + "; rename it")
    assert len(line) < LONGEST + 10
    assert line.endswith("; rename it")


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
    parts = [
        "captions", "pii", "download", "descriptors", "pairs", "dedup", "decide",
    ]  # fmt: skip
    assert stages == ["ingest", *parts, "export", "report"]
    assert not (desk / "runs").exists()
