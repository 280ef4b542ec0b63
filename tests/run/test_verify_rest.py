"""Exports of earlier settings, `job.yaml`, `log.jsonl`: what is lost of them is said in a line."""

import json
import shutil

import pytest
from lab import Lab
from test_verify import DAMAGE, check

from pipeline.config.load import load_job
from pipeline.engine.runner import execute, prepare
from pipeline.lifecycle.mend import lines
from pipeline.table.run import Run
from pipeline.table.runlog import Log
from pipeline.words.errors import InputError
from pipeline.words.progress import Lines
from train.data import open_export

DATA = ("00000.tar", "00000.parquet", "00000_stats.json", "README.md", "manifest.json")
NO_RULES = "rules=[]"


@pytest.fixture(scope="module")
def twice(site, tmp_path_factory):
    """A run with two exports, of which the second is the job's."""
    lab = Lab(site, tmp_path_factory.mktemp("twice"))
    job = lab.job()
    earlier = lab.run(job).export.folder
    return lab, earlier, lab.run(job, NO_RULES).digest


@pytest.fixture
def moved(twice, tmp_path):
    """A copy that a test may damage: its folder, the earlier export's, the digest of the job's."""
    lab, earlier, digest = twice
    shutil.copytree(lab.folder / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / "job"
    job = json.loads((folder / "resolved.json").read_text())
    job["output"] = str(tmp_path / "runs")
    (folder / "resolved.json").write_text(json.dumps(job))
    check(Run(folder), tmp_path, mend=True)
    return folder, folder / earlier, digest


def damage(file, how):
    data = DAMAGE[how](file.read_bytes())
    file.unlink() if data is None else file.write_bytes(data)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", DATA)
def test_an_earlier_export_is_no_dataset_any_more_and_that_is_said(
    name, how, moved, twice, tmp_path
):
    folder, earlier, digest = moved
    file, own = earlier / name, f"export/{earlier.name}/{name}"
    damage(file, how)

    _, answer = check(Run(folder), tmp_path)
    if (name, how) != ("manifest.json", "deleted"):
        assert [one["file"] for one in answer["damaged"]] == [own]
        result, answer = check(Run(folder), tmp_path, mend=True)
        assert [one["file"] for one in answer["lost"]] == [own]
        assert (answer["left"], answer["mended"], result.digest) == ([], False, digest)
        said = "\n".join(lines(answer))
        assert "1 were removed and are lost: they are of settings that are not the job's" in said
    # Whoever asks later, or trains on it, is told.
    _, later = check(Run(folder), tmp_path)
    assert later["unfinished"] == [earlier.name]
    assert f"export/{earlier.name} is not finished: it has no manifest.json" in lines(later)[-1]
    with pytest.raises(InputError, match=r"manifest.json is missing, so .* is no finished export"):
        open_export(earlier)
    # Those settings once more make it again.
    lab, _, _ = twice
    lab.run(lab.folder / "job.yaml", f"output={folder.parent}")
    assert check(Run(folder), tmp_path)[1]["unfinished"] == []
    open_export(earlier)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["00000.json", "others.json"])
def test_the_record_of_an_earlier_export_is_written_again_from_its_manifest(
    name, how, moved, tmp_path
):
    folder, earlier, _ = moved
    file = folder / "parts" / f"export-{earlier.name}" / name
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    damage(file, how)

    own = str(file.relative_to(folder))
    assert own in {one["file"] for one in check(Run(folder), tmp_path)[1]["damaged"]}
    _, answer = check(Run(folder), tmp_path, mend=True)

    assert answer["said"] == [
        f"{own} was written again from {earlier / 'manifest.json'}: nothing is lost"
    ]
    assert (answer["left"], answer["lost"], answer["mended"]) == ([], [], True)
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before


@pytest.mark.parametrize("given", ["there", "edited"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_job_file_is_written_again(how, given, moved, twice, tmp_path):
    folder, _, digest = moved
    file, source = folder / "job.yaml", twice[0].folder / "job.yaml"
    text = source.read_text()
    damage(file, how)
    assert [one["file"] for one in check(Run(folder), tmp_path)[1]["damaged"]] == ["job.yaml"]
    try:
        if given == "edited":
            source.write_text(text + "# a comment\n")
        _, answer = check(Run(folder), tmp_path, mend=True)
    finally:
        source.write_text(text)

    end = "nothing is lost" if given == "there" else "its comments and its order are lost"
    assert [line.endswith(end) for line in answer["said"]] == [True]
    assert (file.read_text() == text) == (given == "there")
    assert check(Run(folder), tmp_path)[1]["damaged"] == []
    # What was written is a job with the same settings.
    job = load_job(file, [f"output={folder.parent}", "name=job", NO_RULES])
    with (tmp_path / "said.txt").open("w") as stream:
        again = execute(prepare(job), None, Lines(stream))
    assert (again.digest, all(again.cached.values())) == (digest, True)


@pytest.mark.parametrize("how", ["cut", "emptied", "deleted", "a line of junk", "a digit", "a key"])
def test_a_damaged_log_keeps_the_lines_that_can_be_read(how, moved, tmp_path):
    folder, _, _ = moved
    file = folder / "log.jsonl"
    before = file.read_bytes().splitlines()
    if how == "a line of junk":
        file.write_bytes(b"\n".join([*before[:3], b"\xff{", *before[4:], b""]))
    elif how in ("a digit", "a key"):
        old, new = (b'"time": 1', b'"time": 2') if how == "a digit" else (b"crc32", b"crc33")
        changed = before[3].replace(old, new)
        assert changed != before[3]
        file.write_bytes(b"\n".join([*before[:3], changed, *before[4:], b""]))
    else:
        damage(file, how)
        whole = file.read_bytes()[:-3] if how == "cut" else b""
        file.write_bytes(whole) if how == "cut" else None

    (found,) = check(Run(folder), tmp_path)[1]["damaged"]
    assert found["file"] == "log.jsonl"
    _, answer = check(Run(folder), tmp_path, mend=True)

    assert answer["mended"] is True
    assert "of tasks and times is lost, and nothing is made of it" in answer["said"][0]
    kept = file.read_bytes().splitlines()
    note = json.loads(kept[-1])
    assert (note["event"], note["kept"]) == ("mended", len(kept) - 1)
    assert set(kept[:-1]) <= set(before)
    assert bool(kept[:-1]) == (how not in ("emptied", "deleted"))
    assert answer["not_checked"] == []


def test_a_cut_line_of_the_log_swallows_no_later_one(moved, tmp_path):
    folder, _, _ = moved
    (folder / "log.jsonl").write_bytes(b'{"time": 1}\n{"tim')
    Log(Run(folder).folder).write(event="failed")
    first, cut, last = (folder / "log.jsonl").read_bytes().splitlines()
    assert (first, cut) == (b'{"time": 1}', b'{"tim')
    assert json.loads(last)["event"] == "failed"
