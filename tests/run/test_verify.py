"""Each file of a run folder, damaged in each way: found by `winnow verify`, and made again."""

import json
import shutil
import tarfile
from itertools import product

import pytest
from lab import Lab

from pipeline.inspect.stats import stats
from pipeline.lifecycle.forget import forget
from pipeline.lifecycle.mend import verify
from pipeline.table.run import Run
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.progress import Lines

DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "deleted": lambda data: None,
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
}
TABLES = (
    "shards/00001.parquet", "parts/captions-*/00001.parquet", "parts/download-*/00001.parquet",
    "parts/download-*/00001.tar", "parts/dedup-*/00001.parquet", "parts/decide-*/00000.parquet",
    "export/*/00000.tar", "export/*/00000.parquet", "export/*/00000_stats.json",
    "export/*/README.md", "export/*/sizes.json",
)  # fmt: skip
RECORDS = (
    "state.json", "plan.json", "provenance.json", "shards/index.json", "export/*/manifest.json",
    "parts/captions-*/00001.json", "parts/captions-*/recipe.json", "parts/download-*/00002.json",
    "parts/decide-*/00001.json", "parts/pairs-*/00001.prepared.json",
    "parts/pairs-*/merged-000.json",
    "parts/export-*/00000.json", "parts/export-*/others.json",
)  # fmt: skip


def flip_a_picture(tar, which=0):
    """Change a byte within a picture of a tar, and no header; the member's name."""
    with tarfile.open(tar) as handle:
        info = handle.getmembers()[which]
    data = bytearray(tar.read_bytes())
    data[info.offset_data + info.size // 2] ^= 4
    tar.write_bytes(data)
    return info.name


@pytest.fixture(scope="module")
def sound(site, tmp_path_factory):
    lab = Lab(site, tmp_path_factory.mktemp("sound"))
    result = lab.run(lab.job())
    return lab, result.digest


@pytest.fixture
def moved(sound, tmp_path):
    """A copy of the run that a test may damage: the run, its folder and its digest."""
    lab, digest = sound
    shutil.copytree(lab.folder / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / "job"
    job = json.loads((folder / "resolved.json").read_text())
    job["output"] = str(tmp_path / "runs")
    (folder / "resolved.json").write_text(json.dumps(job))
    return Run(folder), folder, digest


def check(run, tmp_path, **how):
    with (tmp_path / "said.txt").open("w") as stream:
        return verify(run, Lines(stream), **how)


def test_a_sound_run_has_no_damage_and_every_file_is_compared(moved, tmp_path):
    run, folder, _ = moved
    _, answer = check(run, tmp_path)

    assert answer["damaged"] == []
    tables = [p for p in folder.rglob("*") if p.suffix in (".parquet", ".tar", ".npy")]
    shards = len(list((folder / "shards").glob("*.parquet")))
    assert answer["checked"]["files"] >= len(tables) - shards


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("pattern", [*TABLES, *RECORDS])
def test_a_damaged_file_is_named_and_made_again(pattern, how, moved, tmp_path):
    run, folder, digest = moved
    file = sorted(folder.glob(pattern))[0]
    if (data := DAMAGE[how](file.read_bytes())) is None:
        file.unlink()
    else:
        file.write_bytes(data)

    _, answer = check(run, tmp_path)
    found = {one["file"] for one in answer["damaged"]}
    # Of a stage over all shards, a record that is not there is known by the files it leaves.
    kinds = (".parquet", ".dealt.parquet")
    names = [pattern.replace(".prepared.json", kind).replace(".json", ".parquet") for kind in kinds]
    left = {str(p.relative_to(folder)) for name in names for p in folder.glob(name)}
    assert found & {str(file.relative_to(folder)), *(left if how == "deleted" else ())}

    result, answer = check(Run(folder), tmp_path, mend=True)
    assert answer["left"] == [], answer
    assert result.digest == digest
    figures = stats(Run(folder))
    assert figures["conserved"]
    assert figures["unfinished"] == 0


@pytest.mark.parametrize(
    ("pattern", "suffix"),
    [
        ("shards", "parquet"),
        *product(["parts/captions-*", "parts/download-*"], ["parquet", "json"]),
    ],
)
def test_two_files_that_changed_places_are_found_and_made_again(pattern, suffix, moved, tmp_path):
    run, folder, digest = moved
    (place,) = folder.glob(pattern)
    files = sorted(place.glob(f"0000?.{suffix}"))[:2]
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)

    _, answer = check(run, tmp_path)
    found = {one["file"] for one in answer["damaged"]}
    assert found == {str(file.relative_to(folder)) for file in files}

    result, answer = check(Run(folder), tmp_path, mend=True)
    assert answer["left"] == []
    assert result.digest == digest


def test_only_the_damaged_part_is_made_again(moved, tmp_path, asked):
    run, folder, digest = moved
    (tar,) = folder.glob("parts/download-*/00001.tar")
    flip_a_picture(tar)
    (table,) = folder.glob("parts/captions-*/00000.parquet")
    before = table.stat().st_mtime_ns

    result, _ = check(run, tmp_path, mend=True)

    assert result.digest == digest
    assert len(asked) == 1
    assert table.stat().st_mtime_ns == before


def test_a_grown_list_keeps_its_shards_though_index_and_a_shard_are_damaged(lab, tmp_path, asked):
    rows = lab.site.rows + lab.site.dead
    lab.run(lab.job(rows[:25]))
    digest = lab.run(lab.job(rows)).digest
    folder = lab.folder / "runs" / "job"
    before = {p.name: p.read_bytes() for p in (folder / "shards").glob("*.parquet")}
    asked.clear()
    (folder / "shards" / "00001.parquet").write_bytes(b"")
    assert lab.run(lab.folder / "job.yaml").digest == digest
    (folder / "shards" / "index.json").write_bytes(b'{"inputs"')
    assert lab.run(lab.folder / "job.yaml").digest == digest

    assert asked == []
    assert {p.name: p.read_bytes() for p in (folder / "shards").glob("*.parquet")} == before


def test_tombstones_that_nothing_can_replace_are_refused(moved, tmp_path):
    run, folder, _ = moved
    (folder / "tombstones.jsonl").write_text('{"date": "2026')

    _, answer = check(run, tmp_path)
    assert [one["file"] for one in answer["damaged"]] == ["tombstones.jsonl"]
    with pytest.raises(InputError, match="nothing else says which rows were taken down"):
        check(run, tmp_path, mend=True)


@pytest.mark.parametrize("how", ["deleted", "emptied", "first line gone"])
def test_lost_tombstones_bring_no_row_back(how, lab, tmp_path, asked):
    rows = lab.site.rows + lab.site.dead
    run = lab.run(lab.job(rows[:30])).run
    for row in rows[:2]:
        with (tmp_path / "said.txt").open("w") as stream:
            forget(Run(run.folder.url), [("url", row["url"], "--url")], False, Lines(stream))
    path = lab.folder / "runs" / "job" / "tombstones.jsonl"
    left = {"deleted": None, "emptied": "", "first line gone": path.read_text().splitlines()[1]}[
        how
    ]
    path.unlink() if left is None else path.write_text(left)
    asked.clear()

    _, answer = check(run, tmp_path)
    found = [(one["file"], one["what"]) for one in answer["damaged"]]
    assert found == [("tombstones.jsonl", "missing" if left is None else "cut")]
    with pytest.raises(InputError, match="nothing else says which rows were taken down"):
        check(run, tmp_path, mend=True)
    with pytest.raises(DamagedError) as caught:
        lab.run(lab.job(rows))  # a list that grew is dealt

    assert "tombstones.jsonl was cut, emptied or removed: row " in str(caught.value)
    assert asked == []


def test_a_flipped_table_is_never_exported(moved, tmp_path, sound):
    """A task that reads a damaged file stops before it makes something of it."""
    _, folder, _ = moved
    (tar,) = folder.glob("parts/download-*/00001.tar")
    tar.write_bytes(DAMAGE["flipped"](tar.read_bytes()))
    shutil.rmtree(folder / "export")
    lab, _ = sound

    lost = lab.run(lab.folder / "job.yaml", f"output={tmp_path / 'runs'}").quarantined

    assert lost
    assert all(str(tar) in one["error"] and "--mend" in one["error"] for one in lost)


def test_the_command_names_files_and_ends_with_3_until_they_are_mended(moved, lab):
    _, folder, _ = moved
    (tar,) = folder.glob("parts/download-*/00001.tar")
    flip_a_picture(tar)

    found = lab.winnow("verify", str(folder))
    assert found.returncode == 3
    assert (
        f"{tar.relative_to(folder)}: changed (download, shard 00001, 10 rows, pictures lost: 1: "
        in found.stdout
    )
    mended = lab.winnow("verify", str(folder), "--mend", "--json")
    assert mended.returncode == 0, mended.stderr
    assert json.loads(mended.stdout)["mended"] is True
    sound = lab.winnow("verify", str(folder))
    assert sound.returncode == 0
    assert "none is damaged" in sound.stdout
