"""Takedowns: nothing of the rows is left, no run brings them back, no other row is lost."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lab import DASK, Lab
from leaks import leaks, secrets_of
from takedown import SETTINGS, SMALL, folder, one, rows_of, take

from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import stats
from pipeline.judge.decide import DecideStage
from pipeline.lifecycle.forget import read_list
from pipeline.lifecycle.retry import retry
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import InputError
from pipeline.words.progress import Lines


@pytest.fixture
def own_cluster(copy) -> Lab:
    """The same, for commands in other processes."""
    copy.cluster = DASK
    copy.job(copy.rows, **SETTINGS)
    resolved = folder(copy) / "resolved.json"
    values = json.loads(resolved.read_text())
    values["cluster"]["executor"] = "dask"
    resolved.write_text(json.dumps(values))
    return copy


def check_exports(lab: Lab) -> None:
    """Every export is complete by its manifest, and its layouts have the same rows."""
    for place in (folder(lab) / "export").iterdir():
        manifest = json.loads((place / "manifest.json").read_text())
        uids: list[str] = []
        pool: list[str] = []
        for i, shard in enumerate(manifest["shards"]):
            table = pq.read_table(place / shard["parquet"])
            uids += table["uid"].to_pylist()
            pool += table["input_uid"].to_pylist()
            assert table.num_rows == shard["rows"]
            for file, key in ((shard["tar"], "sha256"), (shard["parquet"], "parquet_sha256")):
                assert hashlib.sha256((place / file).read_bytes()).hexdigest() == shard[key]
            assert json.loads((place / f"{i:05d}_stats.json").read_text())["count"] == shard["rows"]
            for kind in ("img", "text"):
                assert len(np.load(place / f"{kind}_emb/{kind}_emb_{i}.npy")) == shard["rows"]
            assert pq.read_table(place / f"metadata/metadata_{i}.parquet").equals(table)
        assert manifest["rows"] == len(uids) == manifest["counts"]["kept"]
        halves = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in sorted(pool)]
        assert np.load(place / "subset.npy").tolist() == halves
    assert len(list((folder(lab) / "export").iterdir())) == 3


def test_the_rows_are_erased_everywhere_and_no_other_row_is_lost(copy, asked):
    gone = [one(copy, "3.jpg"), one(copy, "7.jpg"), one(copy, "11.jpg")]
    secrets = [secrets_of(folder(copy), row) for row in gone]
    assert all(leaks(folder(copy), secret) for secret in secrets)
    others = "reason is null and not list_contains({}, uid)".format([row["uid"] for row in gone])
    columns = "uid, url, caption, licence, sha256, phash, clip_score, punsafe, cat, repeats"
    text = f"select {columns} from samples where {others} order by uid"
    before = query(Run(folder(copy)), text)
    lines = len((folder(copy) / "log.jsonl").read_text().splitlines())
    result, answer = take(
        copy,
        ("uid", gone[0]["uid"].upper()),
        ("url", gone[1]["url"].replace("http", "HTTP") + "#top"),
        ("sha256", gone[2]["sha256"]),
    )
    assert [leaks(folder(copy), secret) for secret in secrets] == [[], [], []]
    assert (answer["rows"], [s["rows"] for s in answer["scopes"]]) == (3, [1, 1, 1])
    assert len(answer["rewritten"]["exports"]) == 3
    seen = stats(result.run)
    assert (seen["reasons"]["forgotten"], seen["conserved"]) == (3, True)
    assert query(result.run, text).equals(before)
    check_exports(copy)
    # Made from parts: no page was requested and no model was run.
    assert asked == []
    log = (folder(copy) / "log.jsonl").read_text().splitlines()[lines:]
    worked = {stage for line in log for stage in json.loads(line)["stages"]}
    assert worked == {"pairs", "dedup", "decide", "export"}
    row = rows_of(copy, f"uid = '{gone[0]['uid']}'")[0]
    assert {name for name, value in row.items() if value is not None} == {
        "shard", "row", "uid", "repeats", "input_error", "status", "reason", "reasons", "verdict",
        "audit",
    }  # fmt: skip
    assert (row["status"], row["reasons"], row["verdict"]) == ("invalid", ["forgotten"], "dropped")
    text = (folder(copy) / "tombstones.jsonl").read_text()
    assert [json.loads(line)["done"] for line in text.splitlines()] == [True]
    assert not (folder(copy) / "forgetting.json").exists()


def test_the_cards_of_older_exports_say_once_that_rows_were_taken_down(copy, asked):
    for name, taken in (("3.jpg", "1"), ("7.jpg", "2")):
        result, _ = take(copy, ("uid", one(copy, name)["uid"]))
        today = folder(copy) / result.run.state["products"]["export"]["folder"]
        notes = {
            export: (export / "README.md").read_text().split("\n## Taken down\n\n")[1:]
            for export in (folder(copy) / "export").iterdir()
        }
        assert notes.pop(today) == [], "its card was written without these rows"
        assert [[note.split(" rows were taken out")[0] for note in some]
                for some in notes.values()] == [[taken], [taken]]  # fmt: skip


def test_parts_of_older_settings_are_still_up_to_date(copy, asked):
    row = one(copy, "3.jpg")
    take(copy, ("uid", row["uid"]))
    lines = len((folder(copy) / "log.jsonl").read_text().splitlines())
    result = copy.run(copy.folder / "job.yaml", SMALL)
    log = (folder(copy) / "log.jsonl").read_text().splitlines()[lines:]
    assert {stage for line in log for stage in json.loads(line)["stages"]} == {
        "pairs", "dedup", "decide", "export",
    }  # fmt: skip
    assert asked == []
    assert stats(result.run)["reasons"]["forgotten"] == 1


def test_a_later_run_does_not_bring_rows_back(copy, asked):
    rows = [one(copy, "3.jpg"), *rows_of(copy, "url like '%localhost%'")]
    secrets = [secrets_of(folder(copy), row) for row in rows]
    result, answer = take(copy, ("uid", rows[0]["uid"]), ("domain", "LOCALHOST"))
    assert answer["scopes"][1] == {"kind": "domain", "value": "localhost", "rows": 2}
    job = copy.folder / "job.yaml"
    assert copy.run(job).digest == result.digest  # the list is another file, and read again
    assert copy.run(job).digest == result.digest
    assert copy.said == ["everything is up to date; nothing to do"]
    # A longer list with more rows of that host, and then another shard size.
    more = {"url": f"{copy.site.url}/20.jpg".replace("127.0.0.1", "LocalHost"), "caption": "new!"}
    copy.write([*copy.rows, {**more, "licence": "of a new row", "uid": "f" * 32}])
    longer = stats(copy.run(job).run)
    assert (longer["reasons"]["forgotten"], longer["conserved"]) == (4, True)
    assert asked == []
    dealt = stats(copy.run(job, "shard_size=7").run)
    assert (dealt["reasons"]["forgotten"], dealt["conserved"]) == (4, True)
    names = {row["url"].rsplit("/", 1)[1] for row in rows} | {"20.jpg"}
    assert not [path for path in asked if path[1:] in names - {"20.jpg"}]
    assert [leaks(folder(copy), secret) for secret in secrets] == [[], [], []]
    assert not leaks(folder(copy), {"caption": b"new!", "licence": b"of a new row"})


def test_parts_of_earlier_shards_are_emptied_too(copy):
    row = one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    copy.run(copy.folder / "job.yaml", "shard_size=7")
    take(copy, ("url", row["url"]))
    assert leaks(folder(copy), secret) == []
    assert stats(Run(folder(copy)))["reasons"]["forgotten"] == 1


def test_a_dry_run_only_counts(copy):
    before = {path: path.read_bytes() for path in folder(copy).rglob("*") if path.is_file()}
    result, answer = take(copy, ("url", one(copy, "0.jpg")["url"]), dry_run=True)
    assert (result, answer["dry_run"], answer["rows"]) == (None, True, 1)
    assert answer["rewritten"]["shards"] == 1
    assert answer["rewritten"]["parts"] == 2 * 7 - 2  # both settings share captions and pii
    assert answer["related"] == 1  # its copy
    after = {path: path.read_bytes() for path in folder(copy).rglob("*") if path.is_file()}
    assert {p: d for p, d in after.items() if p.name != ".lock"} == {
        p: d for p, d in before.items() if p.name != ".lock"
    }


def test_no_row_of_the_export_names_a_forgotten_leader(copy):
    duplicates = rows_of(copy, "dup_group is not null")
    leader = next(row for row in duplicates if row["uid"] == row["dup_group"])
    assert len(duplicates) == 2
    take(copy, ("uid", leader["uid"]))
    for path in (folder(copy) / "export").rglob("*"):
        if path.suffix == ".parquet":
            assert leader["uid"] not in str(pq.read_table(path).to_pylist())
        elif path.is_file():
            assert leader["uid"].encode() not in path.read_bytes(), path
    duplicate = next(row for row in duplicates if row["uid"] != leader["uid"])
    assert rows_of(copy, f"uid = '{duplicate['uid']}'")[0]["verdict"] == "kept"
    check_exports(copy)


def test_a_takedown_by_sha256_removes_all_copies(copy):
    row = one(copy, "0.jpg")
    _, answer = take(copy, ("sha256", row["sha256"].upper()))
    assert (answer["rows"], answer["related"]) == (2, 0)
    again, answer = take(copy, ("sha256", row["sha256"]))
    assert (again, answer["rows"], answer["before"], answer["rewritten"]["shards"]) == (
        None,
        2,
        2,
        0,
    )
    assert len(Tombstones.read(folder(copy)).stones) == 1


def test_explain_and_report_show_only_that_and_when_a_row_was_taken_down(copy):
    row = one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    take(copy, ("url", row["url"]))
    run = Run(folder(copy))
    reported = explain(run, row["uid"])
    date = Tombstones.read(folder(copy)).stones[0].date
    assert reported["summary"] == f"dropped: forgotten — taken down on {date[:10]} by its url"
    assert reported["forgotten"] == [{"date": date, "kind": "url"}]
    assert (reported["measurements"], reported["passthrough"]) == ({}, {})
    page = Path(write_report(run)).read_text()
    assert row["uid"][:12] not in page
    assert "Taken down" in page
    assert not leaks(folder(copy), secret)


def test_a_retry_leaves_forgotten_rows_out(copy, asked):
    row = one(copy, "3.jpg")
    take(copy, ("uid", row["uid"]))
    with (copy.folder / "said.txt").open("w") as stream:
        _, reported = retry(Run(folder(copy)), f"uid = '{row['uid']}'", None, Lines(stream))
    assert (reported["left_out_by"], asked) == ({"forgotten": 1}, [])


def test_a_part_patched_by_a_retry_is_still_up_to_date(copy, asked):
    rows = rows_of(copy, "url like '%/3.jpg' or url like '%/5.jpg'")
    with (copy.folder / "said.txt").open("w") as stream:
        retry(Run(folder(copy)), "url like '%/5.jpg'", None, Lines(stream))
    asked.clear()
    result, _ = take(copy, ("uid", rows[0]["uid"]))
    assert asked == []
    assert not {"download", "embed", "images"} & {n for n, c in result.cached.items() if not c}


def test_a_note_says_that_a_trained_model_is_unchanged(copy):
    (folder(copy) / "train" / "model").mkdir(parents=True)
    _, answer = take(copy, ("uid", one(copy, "3.jpg")["uid"]))
    assert "rows cannot be removed from a trained model" in answer["notes"][0]


def test_an_unfinished_run_is_not_continued_by_forget(copy, asked):
    row = one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    for path in folder(copy).glob("parts/embed-*/00002.json"):
        path.unlink()
    result, answer = take(copy, ("uid", row["uid"]))
    assert (result, asked) == (None, [])
    assert "the run was not finished before; `winnow run " in answer["notes"][0]
    assert leaks(folder(copy), secret) == []
    assert stats(copy.run(copy.folder / "job.yaml").run)["reasons"]["forgotten"] == 1


def test_an_unfinished_export_keeps_nothing_of_the_rows(copy, rich):
    row = one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    for place in (folder(copy) / "export").iterdir():
        (place / "manifest.json").unlink()  # as after a killed driver
        (folder(copy) / f"parts/export-{place.name}/00000.json").unlink()
        (place / "00000.tar").unlink()
    take(copy, ("uid", row["uid"]))
    assert leaks(folder(copy), secret) == []
    assert stats(Run(folder(copy)))["export"]["rows"] == 35


def test_an_error_that_quotes_the_row_is_removed_from_the_log(copy, monkeypatch):
    row = one(copy, "3.jpg")

    def broken(self, shard, prepared, merged):
        if shard.shard == row["shard"]:
            raise ValueError(f"cannot judge {row['caption']!r}")
        return run(self, shard, prepared, merged)

    run = DecideStage.run
    with monkeypatch.context() as patch:
        patch.setattr(DecideStage, "run", broken)
        copy.run(copy.folder / "job.yaml", "rules.0.when=dup_group is not null and 1 = 1")
    assert ("log.jsonl", "caption") in leaks(folder(copy), {"caption": row["caption"].encode()})
    take(copy, ("uid", row["uid"]))
    assert leaks(folder(copy), {"caption": row["caption"].encode()}) == []
    log = (folder(copy) / "log.jsonl").read_text().splitlines()
    assert sum("it quoted a row that was taken down" in line for line in log) == 1


class KilledError(Exception):
    pass


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 8, 13, 21, 27, 33, 37, 41])
@pytest.mark.parametrize("goes_on", ["run", "forget"])
def test_a_takedown_stopped_at_any_write_is_finished_later(
    copy, monkeypatch, asked, moment, goes_on
):
    row = one(copy, "7.jpg")
    secret, named = secrets_of(folder(copy), row), ("url", row["url"])
    create, count = Folder.create, 0

    def dying(self: Folder, name: str):
        nonlocal count
        count += 1
        if count > moment:
            raise KilledError(name)
        return create(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "create", dying)
        with pytest.raises(KilledError):
            take(copy, named)
    begun = Tombstones.read(folder(copy)).undone
    if goes_on == "run":
        result = copy.run(copy.folder / "job.yaml")
    else:
        result, answer = take(copy, named)
        assert answer["rows"] == 1
    assert bool(begun) == any("finishing the takedown of" in line for line in copy.said)
    assert leaks(folder(copy), secret) == []
    assert asked == []
    assert not {"captions", "download", "embed", "images"} & {
        name for name, cached in result.cached.items() if not cached
    }
    assert stats(result.run)["reasons"]["forgotten"] == 1
    assert Tombstones.read(folder(copy)).undone == ()
    check_exports(copy)


@pytest.mark.parametrize("goes_on", ["run", "forget"])
def test_a_killed_takedown_is_finished_by_the_next_run(own_cluster, goes_on):
    copy = own_cluster
    row = one(copy, "7.jpg")
    secret = secrets_of(folder(copy), row)
    words = ["forget", str(folder(copy)), "--url", row["url"], "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (folder(copy) / "forgetting.json").exists() and time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert Tombstones.read(folder(copy)).undone != ()
    job = str(copy.folder / "job.yaml")
    done = copy.winnow(*(words if goes_on == "forget" else ["run", job, "--json"]))
    assert done.returncode == 0, done.stderr
    assert "forget: finishing the takedown of" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["reasons"]["forgotten"], answer["conserved"]) == (1, True)
    assert leaks(folder(copy), secret) == []
    check_exports(copy)


def test_the_command_prints_what_it_did(own_cluster):
    copy = own_cluster
    listed = copy.folder / "takedowns.txt"
    rows = rows_of(copy, "url like '%/5.jpg' or url like '%/6.jpg'")
    listed.write_text(f"# two of them\nuid:{rows[0]['uid']}\n\nurl: {rows[1]['url']}\n")
    dry = copy.winnow("forget", str(folder(copy)), "--file", str(listed), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "2 rows would be forgotten" in dry.stdout
    done = copy.winnow("forget", str(folder(copy)), "--file", str(listed))
    assert done.returncode == 0, done.stderr
    assert "2 rows forgotten" in done.stdout
    assert "forgotten" in done.stdout.split("reason", 1)[1]
    assert "forget: 2 rows erased" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--uid", "abc"], "winnow: --uid: a uid is 32 hex digits, not `abc`"),
        (["--domain", "http://a.test/"], "winnow: --domain: a domain is e.g. example.org"),
        ([], "winnow: forget: name at least one row"),
        (["--file", "no such file"], "winnow: --file no such file cannot be read"),
    ],
)
def test_invalid_values_end_before_any_work(copy, words, expected):
    done = copy.winnow("forget", str(folder(copy)), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_invalid_line_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# fine\nuid:abc\nexample.org\n")
    with pytest.raises(InputError, match=r"list\.txt, line 3: expected `uid:…`, .*"):
        read_list(path)
    path.write_text("uid:abc # no comment within\n")
    assert read_list(path) == [("uid", "abc # no comment within", f"{path}, line 1")]


def test_a_url_that_cannot_be_parsed_is_found_as_it_is_written(copy, tmp_path):
    rows = [{"url": "no url", "caption": "a cat of wool"}, {"url": "No URL", "caption": "a dog"}]
    lab = Lab(copy.site, tmp_path / "odd", copy.cluster)
    lab.folder.mkdir()
    lab.run(lab.job([*lab.site.rows[:3], *rows]))
    _, answer = take(lab, ("url", "no url"))
    assert answer["rows"] == 1
    assert (
        pa.compute.sum(
            query(Run(folder(lab)), "select (caption = 'a dog')::int as n from samples")["n"]
        ).as_py()
        == 1
    )
