"""`winnow retry`: only the matched rows are fetched again, and what depends on them is updated."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from lab import DASK, SHARD, Lab

from pipeline.demo.web import Route, write_site
from pipeline.engine.runner import replan
from pipeline.inspect.query import query
from pipeline.lifecycle.retry import retry
from pipeline.measure.download import DownloadStage
from pipeline.table.parquet import read_parquet
from pipeline.table.part import read_sidecar
from pipeline.table.run import Run
from pipeline.words.errors import InputError
from pipeline.words.progress import Lines

MISSING = "reason = 'http_not_found'"


def again(lab: Lab, where: str = MISSING):
    run = Run(lab.folder / "runs" / "job")
    with (lab.folder / "said.txt").open("w") as stream:
        result, reported = retry(run, where, None, Lines(stream))
    lab.said = (lab.folder / "said.txt").read_text().splitlines()
    return result, reported


def revive(lab: Lab, *names: str) -> None:
    """Make the missing pages available."""
    for i, name in enumerate(names):
        picture = (lab.site.folder / "www" / f"{i + 5}.jpg").read_bytes()
        (lab.site.folder / "www" / name).write_bytes(picture + b"tail")  # other bytes


def part(run: Run, stage: str) -> Path:
    plan = replan(run)
    return Path(run.folder.path(plan.by_name[stage].folder))


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        return {m.name: opened.extractfile(m).read() for m in opened}


def test_only_the_matched_rows_are_fetched_and_measured(own, asked, counts):
    job = own.job(embed={"model": "winnow-tiny"}, images={"nsfw": "opennsfw"})
    first = own.run(job)
    run = first.run
    before = {path: path.read_bytes() for path in Path(run.folder.path("parts")).rglob("0*")}
    rows = query(run, f"select shard, row, url from samples where {MISSING}").to_pylist()
    assert len(rows) == 3
    lines = len(own.log(first))
    revive(own, "gone0.jpg", "gone1.jpg")
    asked.clear()
    result, reported = again(own)
    assert sorted(asked) == ["/gone0.jpg", "/gone1.jpg", "/gone2.jpg"]
    assert reported == {
        "matched": 3, "left_out": 0, "left_out_by": {}, "fetched": 2,
        "failed_again": {"http_not_found": 1}, "before": {"http_not_found": 3},
        "after": reported["after"],
    }  # fmt: skip
    assert reported["after"]["http_not_found"] == 1
    seen = counts(result)
    assert (seen["conserved"], seen["reasons"]["http_not_found"]) == (True, 1)
    # Two rows were measured, once by each stage; shards without such a row were not changed.
    alive = {row["shard"] for row in rows if not row["url"].endswith("gone2.jpg")}
    log = own.log(result)[lines:]
    worked = [(stage, e["shard"]) for e in log for stage in e["stages"] if stage != "export"]
    assert {s for stage, s in worked if stage == "download"} == {row["shard"] for row in rows}
    assert {s for stage, s in worked if stage == "images"} == alive
    assert not [stage for stage, _ in worked if stage == "captions"]
    for stage in ("embed", "images"):
        found = [read_sidecar(run.folder.sub(f"parts/{part(run, stage).name}"), f"{s:05d}")
                 for s in alive]  # fmt: skip
        assert sum(sidecar.summary["measured"] for sidecar in found) == 2
        assert sum(sidecar.summary["reused"] for sidecar in found) == sum(
            sidecar.rows - len(sidecar.patches[-1]["rows"]) for sidecar in found
        )
    folders = [part(run, stage) for stage in ("captions", "download", "embed", "images")]
    touched = {f"{s:05d}" for s in alive}
    for path, data in before.items():
        if path.parent in folders and path.name.split(".")[0] not in touched:
            assert path.read_bytes() == data, path


def test_a_retried_run_equals_a_run_without_the_failures(own, tmp_path):
    """The same columns, pictures and verdicts, except for rounding in the models' batches."""
    job = own.job(embed={"model": "winnow-tiny"}, images={"nsfw": "opennsfw"})
    own.run(job)
    revive(own, "gone0.jpg", "gone1.jpg", "gone2.jpg")
    result, reported = again(own)
    assert reported["fetched"] == 3
    fresh = Lab(own.site, tmp_path / "fresh", own.cluster)
    fresh.folder.mkdir()
    other = fresh.run(fresh.job(embed={"model": "winnow-tiny"}, images={"nsfw": "opennsfw"}))
    text = "select * exclude (clip_score, punsafe, dup_sim) from samples order by shard, row"
    assert query(result.run, text).equals(query(other.run, text))
    for name in ("clip_score", "punsafe"):
        a, b = (
            query(r.run, f"select {name} from samples order by shard, row")[name].to_numpy()
            for r in (result, other)
        )
        np.testing.assert_allclose(a, b, atol=2e-3)
    for shard in range(len(result.run.index)):
        tars = [part(r.run, "download") / f"{shard:05d}.tar" for r in (result, other)]
        assert tars[0].read_bytes() == tars[1].read_bytes()
    # A plain run has nothing to do.
    assert own.run(job).digest == result.digest
    assert own.said == ["everything is up to date; nothing to do"]


def test_a_row_that_had_a_picture_and_now_fails_loses_it(own, counts):
    own.run(own.job(embed={"model": "winnow-tiny"}))
    run = Run(own.folder / "runs" / "job")
    (row,) = query(run, "select shard, row from samples where url like '%/7.jpg'").to_pylist()
    name = f"{row['row']:06d}.jpg"
    tar = part(run, "download") / f"{row['shard']:05d}.tar"
    before = members(tar)
    (own.site.folder / "www" / "7.jpg").unlink()
    result, reported = again(own, "url like '%/7.jpg'")
    assert reported["failed_again"] == {"http_not_found": 1}
    assert (reported["before"], reported["after"]) == ({"kept": 1}, {"http_not_found": 1})
    after = members(tar)
    assert name in before
    assert after == {k: v for k, v in before.items() if k != name}
    vectors = replan(run).data(row["shard"]).array("embed", "img.npy")
    assert not vectors[row["row"]].any()
    assert np.count_nonzero(vectors.any(axis=1)) == len(after)
    assert counts(result)["conserved"] is True


def test_the_same_answers_make_nothing_stale(own):
    first = own.run(own.job())
    sizes = len(own.log(first))
    result, reported = again(own)
    assert (reported["fetched"], reported["failed_again"]) == (0, {"http_not_found": 3})
    assert result.digest == first.digest
    assert {stage for e in own.log(result)[sizes:] for stage in e["stages"]} == {"download"}


def test_rows_with_an_input_error_are_left_out(own, asked):
    bad = [{"url": f"{own.site.url}/1.jpg", "caption": None}, {"url": None, "caption": "a cat"}]
    own.run(own.job([*own.site.rows[:5], *bad]))
    asked.clear()
    before = Path(own.folder / "runs" / "job" / "state.json").read_bytes()
    result, reported = again(own, "input_error is not null")
    assert (result, asked) == (None, [])
    assert (reported["matched"], reported["left_out"]) == (2, 2)
    assert reported["left_out_by"] == {"caption_missing": 1, "url_missing": 1}
    assert Path(own.folder / "runs" / "job" / "state.json").read_bytes() == before


def test_rows_that_only_if_skips_stay_skipped(own, asked):
    own.run(own.job(own.site.rows[:5], download={"only_if": "url not like '%/3.jpg'"}))
    asked.clear()
    _, reported = again(own, "true")
    assert (reported["left_out_by"], "/3.jpg" in asked) == ({"only_if": 1}, False)
    assert reported["fetched"] == len(asked) == 4


def test_rows_that_a_narrower_mask_leaves_out_are_not_tried(own, asked):
    """They were fetched under a wider mask, and a plain run would not fetch them now."""
    rows = own.site.rows[:5]
    own.run(own.job(rows, audit_fraction=0))
    mask = {"only_if": "url not like '%/3.jpg'"}
    own.run(own.job(rows, audit_fraction=0, download=mask))
    asked.clear()
    _, reported = again(own, "true")
    assert (reported["left_out_by"], reported["fetched"]) == ({"only_if": 1}, 4)
    assert sorted(asked) == ["/0.jpg", "/1.jpg", "/2.jpg", "/4.jpg"]


def test_no_match_does_nothing(alone):
    alone.run(alone.job(alone.site.rows[:3]))
    run = alone.folder / "runs" / "job"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    done = alone.winnow("retry", str(run), "--where", MISSING, "--json")
    assert done.returncode == 0, done.stderr
    assert "retry: 0 rows matched, 0 to fetch again" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["matched"], answer["fetched"], answer["kept"]) == (0, 0, 3)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert before.pop(run / ".lock") <= after.pop(run / ".lock")
    assert before == after


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("reason = ", "--where: .*syntax error"),
        ("reson = 'timeout'", "--where: .*`reson`; did you mean `reason`"),
        ("reason", "--where: `reason` is VARCHAR, not a boolean"),
        ("url in (select url from samples)", "--where: .*no SELECT"),
        ("url::int > 3", "--where: .*Could not convert string"),
        ("", "--where: expected an SQL boolean"),
    ],
)
def test_invalid_sql_is_refused_with_its_reason(lab, where, expected):
    lab.run(lab.job(lab.site.rows[:3]))
    with pytest.raises(InputError, match=expected):
        again(lab, where)


def test_a_run_without_downloads_is_refused(lab):
    result = lab.run(lab.job(lab.site.rows[:3]))
    result.run.folder.remove(f"parts/{part(result.run, 'download').name}")
    with pytest.raises(InputError, match=r"no finished download parts to try again; `winnow run "):
        again(lab)
    with pytest.raises(InputError, match="is not a run folder"):
        Run.open(lab.folder)


def test_a_second_retry_builds_on_the_first(own):
    own.run(own.job(embed={"model": "winnow-tiny"}))
    revive(own, "gone0.jpg")
    again(own)
    revive(own, "gone0.jpg", "gone1.jpg")
    result, reported = again(own)
    assert reported["fetched"] == 1
    folder = result.run.folder.sub(f"parts/{part(result.run, 'embed').name}")
    (row,) = query(
        result.run, "select shard, clip_score from samples where url like '%/gone1.jpg'"
    ).to_pylist()
    sidecar = read_sidecar(folder, f"{row['shard']:05d}")
    assert sidecar.summary["measured"] == 1
    assert row["clip_score"] is not None


def test_a_stage_that_reads_a_patched_part_is_patched_too(own):
    images = {"nsfw": "opennsfw", "only_if": "clip_score > -1"}
    own.run(own.job(embed={"model": "winnow-tiny"}, images=images, audit_fraction=0))
    revive(own, "gone0.jpg")
    result, reported = again(own)
    assert reported["fetched"] == 1
    (row,) = query(
        result.run, "select shard, punsafe from samples where url like '%/gone0.jpg'"
    ).to_pylist()
    sidecar = read_sidecar(
        result.run.folder.sub(f"parts/{part(result.run, 'images').name}"), f"{row['shard']:05d}"
    )
    stay = sidecar.rows - len(
        sidecar.patches[-1]["rows"]
    )  # its patch may contain a row that failed again
    assert (sidecar.summary["measured"], sidecar.summary["reused"]) == (1, stay)
    assert stay >= SHARD - 3
    assert row["punsafe"] is not None


def test_a_shard_that_breaks_keeps_its_part_and_is_reported(own, monkeypatch, counts):
    job = own.job()
    first = own.run(job)
    rows = query(first.run, f"select shard from samples where {MISSING}")["shard"].to_pylist()
    revive(own, "gone0.jpg", "gone1.jpg", "gone2.jpg")
    run = DownloadStage.run

    def broken(self, data, mask):
        if data.shard == rows[0]:
            raise ValueError("the disk is full")
        return run(self, data, mask)

    with monkeypatch.context() as patch:
        patch.setattr(DownloadStage, "run", broken)
        result, _ = again(own)
    (lost,) = result.quarantined
    assert (lost["stage"], lost["shard"]) == ("download", rows[0])
    assert "the disk is full" in lost["error"]
    assert counts(result)["conserved"] is True
    # The earlier part is up to date: a plain run fetches nothing, and the same retry does the rest.
    assert own.run(job).quarantined == []
    _, reported = again(own)
    assert (reported["matched"], reported["fetched"]) == (rows.count(rows[0]), rows.count(rows[0]))


def test_the_command_prints_counts_and_paths(own):
    own.run(own.job(own.site.rows[:4] + own.site.dead))
    revive(own, "gone0.jpg", "gone1.jpg")
    run = own.folder / "runs" / "job"
    resolved = json.loads((run / "resolved.json").read_text())
    resolved["cluster"]["executor"] = "dask"
    (run / "resolved.json").write_text(json.dumps(resolved))
    done = own.winnow("retry", str(run), "--where", MISSING)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "3 rows matched", "2 fetched, 1 failed again: 1 http_not_found",
        "before: 3 http_not_found", "after: 2 kept, 1 http_not_found",
    ]  # fmt: skip
    assert any(line.strip().startswith("report: ") for line in lines)
    wrong = own.winnow("retry", str(run), "--where", "reson = 'timeout'")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("winnow: --where: ")
    assert "did you mean `reason`?" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


@pytest.fixture
def slow(own):
    """Pages that are slow at the second request, so that there is time for a kill."""
    lab = Lab(own.site, own.folder, DASK)
    lab.run(lab.job(embed={"model": "winnow-tiny"}))
    revive(lab, "gone0.jpg", "gone1.jpg", "gone2.jpg")
    names = [f"gone{i}.jpg" for i in range(3)] + ["2.jpg"]
    write_site(lab.site.folder, {f"/{name}": Route(delay=0.7) for name in names})
    return lab


def _stamp(path: Path) -> int | None:
    """When a file was written. None if it is gone: a sidecar is, while its part is replaced."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("goes_on", ["retry", "run"])
def test_a_killed_retry_is_continued(slow, goes_on):
    run = slow.folder / "runs" / "job"
    folder = part(Run(run), "download")
    kept = {path: members(path) for path in folder.glob("*.tar")}
    stamps = {path: _stamp(path) for path in folder.glob("0*.json")}
    words = ["retry", str(run), "--where", MISSING, "--json"]
    command = [sys.executable, "-m", "pipeline", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if any(_stamp(path) != stamp for path, stamp in stamps.items()):
            break
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)
    last = words if goes_on == "retry" else ["run", str(slow.folder / "job.yaml"), "--json"]
    done = slow.winnow(*last)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["conserved"] is True
    for path, found in kept.items():
        assert found.items() <= members(path).items(), "a picture that was there is lost"
    if goes_on == "retry":
        assert "http_not_found" not in answer["reasons"]
    assert not list(run.rglob("*.next"))


def test_a_complete_part_written_aside_replaces_the_old_one(own):
    """The state after a kill between the writing of a part and its move."""
    job = own.job(own.site.rows[:SHARD])
    first = own.run(job)
    folder = part(first.run, "download")
    waiting = folder / "00000.next"
    waiting.mkdir()
    for name in ("00000.json", "00000.parquet"):
        (folder / name).rename(waiting / name)
    (folder / "00001.next").mkdir()
    (folder / "00001.next" / "00001.tar").write_bytes(b"half")
    assert own.run(job).digest == first.digest
    assert own.said == ["everything is up to date; nothing to do"]
    assert not list(folder.glob("*.next"))
    table = read_parquet(first.run.folder, f"parts/{folder.name}/00000.parquet")
    assert table["status"].to_pylist() == ["success"] * SHARD
