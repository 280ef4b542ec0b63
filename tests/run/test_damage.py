"""Files of a run that were truncated or changed: named in one line, then made again."""

import re
import sys

import pytest
from lab import Lab

from pipeline.shell import cli
from pipeline.words.errors import DamagedError

COMMANDS = {
    "status": [], "stats": [], "sql": ["select * from samples"], "explain": [], "report": [],
    "retry": ["--where", "true"], "forget": ["--dry-run"],
}  # fmt: skip
TABLES = (
    "shards/00000.parquet", "parts/captions-*/00001.parquet", "parts/download-*/00002.parquet",
    "parts/decide-*/00003.parquet",
)  # fmt: skip
JUNK = {
    "junk": lambda data: b"\7" * len(data),
    "half": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "middle": lambda data: data[:40] + bytes(b ^ 255 for b in data[40:-400]) + data[-400:],
}
"""Changes that keep the file size, which the sidecar records."""
TORN = {"empty": b"", "null": b"null", "list": b"[]", "half": b'{"order": ["capt', "junk": b"\xff"}


@pytest.fixture(scope="module")
def finished(site, tmp_path_factory):
    lab = Lab(site, tmp_path_factory.mktemp("finished"))
    result = lab.run(lab.job())
    return lab, lab.folder / "runs" / "job", result.digest


@pytest.fixture
def damaged(finished):
    """`damaged(pattern, change)`: changes the one matching file; it is restored after the test."""
    _, run, _ = finished
    before = []

    def change(pattern, damage):
        (file,) = run.glob(pattern)
        before.append((file, file.read_bytes()))
        file.write_bytes(damage(before[0][1]))
        return file

    yield change
    for file, data in before:
        file.write_bytes(data)


@pytest.fixture
def winnow(finished, monkeypatch, capsys):
    """Runs the command in this process: its exit code and stderr."""
    lab, run, _ = finished

    def call(command, *words):
        more = {"explain": [lab.site.rows[0]["url"]], "forget": ["--url", lab.site.rows[0]["url"]]}
        words = [command, *(words or [str(run), *COMMANDS[command], *more.get(command, [])])]
        monkeypatch.setattr(sys, "argv", ["winnow", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("how", JUNK)
@pytest.mark.parametrize("pattern", TABLES)
def test_a_damaged_table_is_named_by_every_command_that_reads_it(pattern, how, damaged, winnow):
    file = damaged(pattern, JUNK[how])
    line = f"winnow: {file} was cut or changed from outside; `winnow verify "

    reported = {command: winnow(command) for command in ("stats", "sql", "report")}

    for command, (code, err) in reported.items():
        assert code == 2, (command, err)
        assert err.startswith(line), command
        assert err.count("\n") == 1, err


@pytest.mark.parametrize("pattern", TABLES)
def test_no_command_ends_with_a_traceback_for_a_damaged_table(pattern, damaged, winnow):
    file = damaged(pattern, JUNK["junk"])

    for command in ("status", "explain", "forget"):
        code, err = winnow(command)
        assert (code == 2 and str(file) in err) or code == 0, (command, err)


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("name", ["resolved.json", "state.json", "shards/index.json"])
def test_no_command_ends_with_a_traceback_for_a_truncated_json_file(name, torn, damaged, winnow):
    file = damaged(name, lambda data: TORN[torn])

    for command in COMMANDS:
        code, err = winnow(command)
        assert code in (0, 2), (command, err)
        if code:
            assert err.splitlines()[-1].startswith("winnow: "), (command, err)
            assert str(file) in err or "winnow run" in err, (command, err)


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("name", ["resolved.json", "state.json", "shards/index.json", "plan.json"])
def test_a_run_writes_truncated_json_files_again(name, torn, damaged, finished):
    lab, _, digest = finished
    damaged(name, lambda data: TORN[torn])

    assert lab.run(lab.folder / "job.yaml").digest == digest


def test_a_damaged_part_quarantines_its_shard_until_it_is_removed(lab):
    job = lab.job()
    digest = lab.run(job).digest
    (part,) = (lab.folder / "runs" / "job").glob("parts/captions-*/00001.parquet")
    part.write_bytes(JUNK["junk"](part.read_bytes()))

    stricter = ["rules=[{reason: x_short, when: caption_words < 0, if_null: keep}]"]
    (lost,) = lab.run(job, *stricter).quarantined

    assert lost["shard"] == 1
    assert lost["error"].startswith(f"{part} was cut or changed from outside")
    part.unlink()
    assert lab.run(job).digest == digest


def test_a_damaged_shard_stops_the_export_until_it_is_removed(lab, monkeypatch, capsys):
    job = lab.job()
    digest = lab.run(job).digest
    shard = lab.folder / "runs" / "job" / "shards" / "00001.parquet"
    shard.write_bytes(JUNK["middle"](shard.read_bytes()))
    monkeypatch.setattr(sys, "argv", ["winnow", "run", str(job), "--set", "export.shard_size=7"])

    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith(f"winnow: {shard} was cut or changed from outside; `winnow verify ")
    shard.unlink()
    assert lab.run(job).digest == digest


def test_no_count_is_shown_over_a_table_that_is_not_as_it_was_written(damaged, winnow):
    """A change that leaves the table readable, of which only the checksum tells."""

    def other_writer(data):
        assert data.count(b"parquet-cpp-arrow") == 1
        return data.replace(b"parquet-cpp-arrow", b"parquet-cpp-arroz")

    file = damaged("parts/captions-*/00001.parquet", other_writer)

    code, err = winnow("stats")

    assert code == 2
    assert err.startswith(f"winnow: {file} was cut or changed from outside; `winnow verify ")


@pytest.mark.parametrize("kind", ["dealt", "prepared"])
def test_a_merge_reads_nothing_that_was_changed(kind, lab):
    """What was prepared of a shard is merged again when the list grows."""
    # Several pairs, so that what was prepared of some shard stands when the list grows by one more.
    twice = [*lab.site.rows[:8], lab.site.rows[15]]
    repeats = [row | {"caption": "the same picture once more"} for row in twice]
    rows = [*repeats[:-1], *lab.site.rows, *lab.site.dead, repeats[-1]]
    lab.run(lab.job(rows[:30]))
    folder = lab.folder / "runs" / "job"
    stage = {"dealt": "pairs", "prepared": "decide"}[kind]
    for path in folder.glob(f"parts/{stage}-*/*.{kind}.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    try:
        said = lab.run(lab.job(rows)).quarantined[0]["error"]  # of the shard's own task
    except DamagedError as error:
        said = str(error)  # of the merge, without which there is nothing

    assert re.search(rf"\d{{5}}\.{kind}\.parquet was cut or changed from outside; ", said)
