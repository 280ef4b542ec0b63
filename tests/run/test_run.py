"""Whole runs: no row is lost, no work is done twice, and only what is stale is made again."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from lab import SHARD
from records import record
from safetensors.numpy import load_file, save_file

from pipeline.config.load import load_job
from pipeline.engine.runner import execute, prepare
from pipeline.export.shards import write_shard
from pipeline.ingest.deal import deal
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query
from pipeline.judge.decide import DecideStage
from pipeline.measure.captions.captions import CaptionsStage
from pipeline.measure.decoding import measure_pictures
from pipeline.measure.dedup.dedup import DedupStage
from pipeline.measure.download import DownloadStage
from pipeline.measure.pictures.heads import HeadsStage
from pipeline.table.parquet import read_parquet, write_parquet
from pipeline.table.run import Run
from pipeline.words.errors import InputError, PartError
from pipeline.words.progress import Lines

TINY_FOLDER = files("pipeline") / "models" / "data" / "winnow-tiny"
NAMES = [
    "captions", "pii", "download", "descriptors", "pairs", "dedup", "decide", "export",
]  # fmt: skip


def test_every_row_is_kept_or_has_a_reason(lab, counts):
    rows = lab.site.rows + lab.site.dead
    bad = [{"url": None, "caption": "no address"}, {"url": "http://x.test/a.jpg", "caption": None}]
    result = lab.run(lab.job([*rows, *bad, rows[3], rows[3]]))
    seen = counts(result)
    assert seen["ingested"] == len(rows) + 4
    assert seen["merged_repeats"] == 2
    assert seen["reasons"] == {
        "duplicate": 1, "http_not_found": 3, "url_missing": 1, "caption_missing": 1,
    }  # fmt: skip
    assert seen["kept"] == len(rows) - 4
    assert seen["ingested"] == seen["merged_repeats"] + seen["kept"] + sum(seen["reasons"].values())
    assert seen["conserved"] is True


def test_a_second_run_does_nothing(lab):
    job = lab.job()
    first = lab.run(job)
    second = lab.run(job)
    assert lab.said == ["everything is up to date; nothing to do"]
    assert set(second.cached.values()) == {True}
    assert second.digest == first.digest


def test_a_changed_threshold_reruns_decide_and_later_products(lab):
    job = lab.job()
    first = lab.run(job)
    values = yaml.safe_load(job.read_text())
    values["rules"].insert(0, {"reason": "caption_long", "when": "caption_words > 8"})
    job.write_text(yaml.safe_dump(values))
    planned = {row["stage"]: row for row in preview(load_job(job))["stages"]}
    assert [name for name in NAMES if planned[name]["todo"] != 0] == ["decide", "export"]
    assert planned["decide"]["why"].startswith("rules: ")
    assert planned["export"]["why"] == "waits for the verdicts"
    second = lab.run(job)
    assert [name for name in NAMES if not second.cached[name]] == ["decide", "export"]
    assert second.digest != first.digest
    # With the old threshold again: the first verdicts are still up to date.
    values["rules"].pop(0)
    job.write_text(yaml.safe_dump(values))
    assert lab.run(job).digest == first.digest
    assert lab.said == ["everything is up to date; nothing to do"]


def test_a_run_object_has_the_job_of_its_last_run(lab):
    """Not the earlier job that was read to recognise the folder: the report would stay stale."""
    rules = [{"reason": "x_one", "when": "caption_words < 3"}]
    lab.run(lab.job(rules=rules))
    rules = [{"reason": "x_one", "when": "caption_words < 4"}]
    result = lab.run(lab.job(rules=rules))
    assert [rule["when"] for rule in result.run.job["rules"]] == ["caption_words < 4"]


def test_rows_added_to_the_input_go_to_new_shards_only(lab, counts):
    rows = lab.site.rows
    job = lab.job(rows[:20])
    first = lab.run(job)
    before = list(Run(first.run.folder.url).index.shards)
    lab.write(rows)
    planned = {row["stage"]: row for row in preview(load_job(job))["stages"]}
    assert planned["ingest"]["why"] == "the input changed: rows.parquet"
    second = lab.run(job)
    after = second.run.index.shards
    assert after[: len(before)] == tuple(before)
    log = lab.log(second)
    fetched = [entry["shard"] for entry in log if entry["stages"] == ["download"]]
    assert sorted(fetched) == list(range(len(after)))  # each only once
    assert counts(second)["ingested"] == len(rows)


def test_a_changed_setting_reruns_what_depends_on_it(lab):
    job = lab.job()
    lab.run(job)
    result = lab.run(job, "download.image_size=48")
    assert [n for n in NAMES if not result.cached[n]] == NAMES[2:]


def test_a_changed_model_reruns_what_depends_on_it(lab):
    model = lab.folder / "clip"
    shutil.copytree(TINY_FOLDER, model)
    job = lab.job(lab.site.rows[:6], embed={"model": str(model)})
    lab.run(job)
    weights = model / "open_clip_model.safetensors"
    tensors = load_file(weights)
    tensors["visual.proj"] *= 0.5  # other weights, but the same cosines
    save_file(tensors, weights)
    planned = {row["stage"]: row for row in preview(load_job(job))["stages"]}
    assert planned["embed"]["why"].startswith(f"models.clip: {model}: ")
    assert (planned["captions"]["todo"], planned["download"]["todo"]) == (0, 0)
    result = lab.run(job)
    again = [name for name, cached in result.cached.items() if not cached]
    assert again == ["embed", "pairs", "dedup", "decide", "export"]


def test_what_was_laid_on_each_other_is_counted(lab, counts):
    result = lab.run(lab.job(lab.site.rows[:8], dedup={"verify": True, "verify_budget": 0.5}))
    seen = counts(result)
    found = seen["stages"]["pairs"]["counts"]
    assert found["checked"] == 4  # half a pair for each of 8 pictures
    assert found["unchecked"] > 0
    assert found["aligned"] <= found["checked"]
    assert seen["conserved"] is True
    assert seen["ingested"] == seen["merged_repeats"] + seen["kept"] + sum(seen["reasons"].values())


def test_a_lost_part_is_made_again(lab):
    job = lab.job()
    first = lab.run(job)
    folder = next(n for n in first.run.folder.names("parts") if n.startswith("download"))
    first.run.folder.remove(f"parts/{folder}/00001.tar")
    second = lab.run(job)
    log = lab.log(second)
    assert [e["shard"] for e in log if e["stages"] == ["download"]][-1] == 1
    assert second.digest == first.digest


def _raise(stage, method):
    def broken(self, *args, **kwargs):
        if args[0].shard == 1:
            uids = args[0].table()["uid"].to_pylist()
            raise ValueError(f"row {uids[-1]} cannot be measured")
        return method(self, *args, **kwargs)

    return broken


def _bend(change):
    def breaker(stage, method):
        def broken(self, *args, **kwargs):
            output = method(self, *args, **kwargs)
            if args[0].shard == 1:
                output.table = change(output.table)
            return output

        return broken

    return breaker


BREAKS = {
    "an exception in one row": (_raise, "cannot be measured"),
    "a lost row": (_bend(lambda t: t.slice(1)), "1 rows lost"),
    "a repeated row": (_bend(lambda t: pa.concat_tables([t, t.slice(0, 1)])), "1 rows repeated"),
    "a reordered part": (
        _bend(lambda t: t.take(list(reversed(range(t.num_rows))))),
        "rows reordered from row 0 on",
    ),
    "a missing column": (_bend(lambda t: t.select(["uid"])), "columns missing"),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("stage", [CaptionsStage, DownloadStage, DedupStage, DecideStage])
def test_a_broken_stage_is_refused_and_its_shard_quarantined(lab, counts, monkeypatch, stage, how):
    breaker, message = BREAKS[how]
    job = lab.job()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", breaker(stage, stage.run))
        result = lab.run(job)
    (lost,) = result.quarantined
    assert (lost["stage"], lost["shard"]) == (stage.name, 1)
    assert message in lost["error"]
    node = next(n for n in result.run.folder.names("parts") if n.startswith(stage.name))
    assert not result.run.folder.exists(f"parts/{node}/00001.json")
    seen = counts(result)
    assert seen["unfinished"] == SHARD
    assert seen["conserved"] is True
    # Once the stage is repaired, the same command does the rest.
    again = lab.run(job)
    assert again.quarantined == []
    assert counts(again)["unfinished"] == 0


PICTURE_BREAKS = {name: BREAKS[name] for name in BREAKS if name != "an exception in one row"}


@pytest.mark.parametrize("how", PICTURE_BREAKS)
@pytest.mark.parametrize("stage", ["embed", "images"])
def test_a_broken_picture_stage_is_refused(lab, counts, monkeypatch, stage, how):
    breaker, message = PICTURE_BREAKS[how]

    def measure(data, stages, rows, scratch):
        outputs = measure_pictures(data, stages, rows, scratch)
        outputs[stage] = breaker(None, lambda *_: outputs[stage])(None, data)
        return outputs

    monkeypatch.setattr("pipeline.engine.tasks.measure_pictures", measure)
    rows = lab.site.rows[:12]
    job = lab.job(rows, embed={"model": "winnow-tiny"}, images={"nsfw": "opennsfw"})
    result = lab.run(job)
    (lost,) = result.quarantined
    assert lost["shard"] == 1
    assert f"{stage}, shard 00001" in lost["error"]
    assert message in lost["error"]
    seen = counts(result)
    assert (seen["unfinished"], seen["conserved"]) == (2, True)


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_heads_stage_is_refused(lab, counts, monkeypatch, how):
    breaker, message = BREAKS[how]
    monkeypatch.setattr(HeadsStage, "run", breaker(HeadsStage, HeadsStage.run))
    head = {"name": "cat", "kind": "zeroshot", "positive": ["a cat"], "negative": ["a ship"]}
    embed, images = {"model": "winnow-tiny"}, {"nsfw": None, "heads": [head]}
    result = lab.run(lab.job(lab.site.rows[:12], embed=embed, images=images))
    (lost,) = result.quarantined
    assert (lost["stage"], lost["shard"]) == ("heads", 1)
    assert message in lost["error"]
    assert counts(result)["unfinished"] == 2


def test_a_picture_that_cannot_be_measured_is_named(lab, monkeypatch):
    def measure(self, items, rows):
        raise ValueError(f"no vector for {rows['uid'][0]}")

    monkeypatch.setattr("pipeline.measure.pictures.embed.EmbedSession.measure", measure)
    result = lab.run(lab.job(lab.site.rows[:5], embed={"model": "winnow-tiny"}))
    (lost,) = result.quarantined
    assert "no vector for " in lost["error"]


def test_an_ingest_that_loses_a_row_ends_the_run(lab, monkeypatch):
    def lossy(run, job, listing, progress):
        index = deal(run, job, listing, progress)
        table = run.shard(1)
        with run.folder.create("shards/00001.parquet") as path:
            write_parquet(table.slice(1), path)
        return index

    monkeypatch.setattr("pipeline.engine.ingest.deal", lossy)
    with pytest.raises(PartError, match="ingest: 40 rows read, but 39 dealt"):
        lab.run(lab.job())
    assert Run(lab.folder / "runs" / "job").index is None


def test_an_export_that_loses_a_row_is_refused(lab, monkeypatch):
    def write(number, slices, scratch, blur):
        tables, files, rows = write_shard(number, slices, scratch, blur)
        return {name: table.slice(1) for name, table in tables.items()}, files, rows

    monkeypatch.setattr("pipeline.engine.export.write_shard", write)
    result = lab.run(lab.job())
    (lost,) = result.quarantined
    assert (lost["stage"], lost["shard"]) == ("export", 0)
    assert lost["error"] == "PartError: export: expected 36 kept rows, but 35 were written"
    assert result.export is None
    assert not list((lab.folder / "runs" / "job" / "export").rglob("manifest.json"))


def test_a_changed_column_is_exported_though_the_verdicts_are_the_same(lab):
    rows = [{**row, "licence": "unknown"} for row in lab.site.rows[:6]]
    job = lab.job(rows)
    first = lab.run(job)
    lab.write([{**row, "licence": "CC0"} for row in rows])
    second = lab.run(job)
    assert not second.cached["export"]
    assert second.digest != first.digest
    name = f"{second.export.folder}/00000.parquet"
    assert set(read_parquet(second.run.folder, name)["licence"].to_pylist()) == {"CC0"}


def test_after_a_kill_during_ingest_the_change_is_still_found(lab, monkeypatch):
    rows = [{**row, "licence": "unknown"} for row in lab.site.rows[:6]]
    job = lab.job(rows)
    lab.run(job)
    lab.write([{**row, "licence": "CC0"} for row in rows])

    class KilledError(Exception):
        pass

    def killed(*args, **kwargs):
        raise KilledError

    with monkeypatch.context() as patch:
        # The shards' files are rewritten, but their index is not.
        patch.setattr("pipeline.ingest.deal.ShardIndex", killed)
        with pytest.raises(KilledError):
            lab.run(job)
    result = lab.run(job)
    name = f"{result.export.folder}/00000.parquet"
    assert set(read_parquet(result.run.folder, name)["licence"].to_pylist()) == {"CC0"}


def test_a_shard_lost_while_judged_makes_no_row_of_another_a_duplicate(lab, counts, monkeypatch):
    # The best row of a group is in the shard that fails; its duplicate elsewhere must be kept then.
    job = lab.job([lab.site.rows[0], lab.site.rows[-1], lab.site.rows[3]], shard_size=1)
    whole = lab.run(job)
    table = query(whole.run, "select shard, dup_of, reason from samples where dup_of is not null")
    (duplicate,) = table.to_pylist()
    best = query(whole.run, f"select shard from samples where uid = '{duplicate['dup_of']}'")
    broken = best["shard"].to_pylist()[0]
    assert broken != duplicate["shard"]
    run = DecideStage.run

    def fails(self, shard, prepared, merged):
        if shard.shard == broken:
            raise ValueError("broken")
        return run(self, shard, prepared, merged)

    monkeypatch.setattr(DecideStage, "run", fails)
    result = lab.run(job, "rules.0.when=dup_group is not null and true")
    assert [lost["shard"] for lost in result.quarantined] == [broken]
    assert counts(result)["reasons"].get("duplicate", 0) == 0


def test_when_every_shard_is_lost_the_old_export_stays(lab, monkeypatch):
    job = lab.job()
    first = lab.run(job)
    monkeypatch.setattr(DecideStage, "prepare", lambda *_: 1 / 0)
    result = lab.run(job, "rules.0.when=dup_group is not null and true")
    assert (len(result.quarantined), result.export) == (4, None)
    assert first.export.digest() == first.digest != ""


def test_a_picture_missing_from_the_tar_is_an_error_and_not_null(lab):
    import tarfile

    job = lab.job(lab.site.rows[:5])
    first = lab.run(job)
    folder = next(n for n in first.run.folder.names("parts") if n.startswith("download"))
    tar = Path(first.run.folder.path(f"parts/{folder}/00000.tar"))
    size = tar.stat().st_size
    with tarfile.open(tar, "w") as empty:
        empty.fileobj.write(b"\0" * (size - 10_240))
    tar.write_bytes(tar.read_bytes()[:size].ljust(size, b"\0"))
    record(tar)
    result = lab.run(job, "embed.model=winnow-tiny")
    (lost,) = result.quarantined
    assert "expected 5 pictures, the tar has 0" in lost["error"]


def test_a_folder_of_another_job_is_refused(lab):
    lab.run(lab.job())
    other = lab.folder / "other.yaml"
    other.write_text((lab.folder / "job.yaml").read_text() + "\nname: job\n")
    with pytest.raises(InputError, match=r"belongs to the job .*job\.yaml; give this one another"):
        lab.run(other)


def test_a_locked_folder_is_refused(lab):
    job = lab.job()
    lab.run(job)
    holder = Run(lab.folder / "runs" / "job")
    holder.lock()
    try:
        with pytest.raises(InputError, match="is locked by a running winnow"):
            lab.run(job)
    finally:
        holder.unlock()


def test_a_scheduler_that_does_not_answer_is_named(alone):
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9;"):
        alone.run(alone.job(), "cluster.scheduler=tcp://127.0.0.1:9")


def test_the_command_prints_progress_to_stderr_and_json_to_stdout(alone):
    done = alone.winnow("run", str(alone.job(alone.site.rows[:4])), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["ingested"], answer["kept"], answer["reasons"]) == (4, 4, {})
    assert "export: 4 of 4 rows" in done.stderr


def test_quarantined_shards_end_in_exit_code_3(alone, monkeypatch):
    job = alone.job()
    # A worker cannot write this part, because a folder has its name.
    alone.winnow("run", str(job))
    run = alone.folder / "runs" / "job"
    (part,) = run.glob("parts/captions-*/00001.parquet")
    part.unlink()
    part.mkdir()
    (part / "in the way").touch()
    done = alone.winnow("run", str(job))
    assert done.returncode == 3, done.stderr
    assert "winnow: shard 00001 is quarantined at captions: " in done.stderr
    assert "the same command tries it again" in done.stderr


def test_relative_paths_reach_workers_whose_working_folder_is_another(lab, counts, monkeypatch):
    # Tasks run in this process, so its working folder is changed after the job is prepared.
    job_file = lab.job(lab.site.rows[:4], output="here", captions={"vocabulary": "words.txt"})
    (lab.folder / "words.txt").write_text("glorbex\n")
    elsewhere = lab.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(lab.folder)
    prepared = prepare(load_job(job_file))
    monkeypatch.chdir(elsewhere)
    with (lab.folder / "said.txt").open("w") as stream:
        result = execute(prepared, job_file, Lines(stream))
    assert counts(result)["kept"] == 4
    assert (lab.folder / "here" / "job" / "resolved.json").is_file()


def test_a_folder_left_by_a_run_killed_at_its_start_can_be_used(lab):
    run = lab.folder / "runs" / "job"
    run.mkdir(parents=True)
    (run / ".lock").touch()
    (run / "resolved.json.1234abcd.tmp").write_text("{")
    assert lab.run(lab.job()).quarantined == []


def test_a_folder_that_is_not_a_run_is_not_changed(lab):
    run = lab.folder / "runs" / "job"
    run.mkdir(parents=True)
    (run / "thesis.tex").write_text("dear to somebody")
    with pytest.raises(InputError, match=r"holds files that are no run's \(thesis\.tex, …\)"):
        lab.run(lab.job())
    assert (run / "thesis.tex").read_text() == "dear to somebody"


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden"])
def test_a_name_that_is_not_a_folder_name_is_refused(lab, name):
    with pytest.raises(InputError, match="`name`: "):
        load_job(lab.job(name=name))
