"""Everything that a run makes is a product: planned, made, counted and taken down alike."""

from pathlib import Path

import pytest

from pipeline.config.load import load_job
from pipeline.engine import singles
from pipeline.engine.parts import recorded
from pipeline.engine.product import Made, Single, digest_in
from pipeline.engine.runner import products_of, replan
from pipeline.inspect.preview import preview
from pipeline.inspect.report.product import Report
from pipeline.inspect.stats import stats
from pipeline.inspect.status import status
from pipeline.lifecycle.forget import forget
from pipeline.shell.commands import make_only
from pipeline.words.errors import InputError
from pipeline.words.progress import Lines

ORDER = [
    "ingest", "captions", "pii", "download", "descriptors", "pairs", "dedup", "decide", "export",
    "report",
]  # fmt: skip
SMALL = {"dedup": {"phash_distance": None}}


@pytest.fixture(scope="module", autouse=True)
def with_report(no_report):
    """With the report, which other tests of runs leave out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "of", classmethod(lambda cls, run, job: cls(run, job)))
        yield


def planned(job: Path, *overrides: str) -> dict[str, str]:
    return {row["stage"]: row["why"] for row in preview(load_job(job, overrides))["stages"]}


def test_plan_state_status_and_stats_list_the_same_products(lab):
    job = lab.job(lab.site.rows[:24], **SMALL)
    result = lab.run(job)
    assert list(result.cached) == ORDER
    assert not any(result.cached.values())
    assert list(result.run.state["products"]) == ORDER
    assert all(one["current"] for one in result.run.state["products"].values())
    assert planned(job) == dict.fromkeys(ORDER, "up to date")
    seen = status(result.run)["stages"]
    assert list(seen) == list(stats(result.run)["stages"]) == ORDER
    assert {name: one["done"] == one["total"] > 0 for name, one in seen.items()} == (
        dict.fromkeys(ORDER, True)
    )
    again = lab.run(job)
    assert all(again.cached.values())
    assert lab.said == ["everything is up to date; nothing to do"]


@pytest.mark.parametrize(
    ("file", "made"),
    [
        ("report.html", ["report"]),
        ("report.json", ["report"]),
        ("export/*/manifest.json", ["export"]),
        ("export/*/00000.tar", ["export"]),
        ("parts/pii-*/00001.parquet", ["pii"]),
        ("parts/decide-*/00002.json", ["decide"]),
        ("shards/index.json", ["ingest"]),
    ],
)
def test_a_lost_file_makes_its_product_stale_and_plan_shows_it(lab, file, made):
    job = lab.job(lab.site.rows[:24], **SMALL)
    first = lab.run(job)
    (path,) = Path(first.run.folder.path()).glob(file)
    path.unlink()
    why = planned(job)
    assert why[made[0]] not in ("up to date", "waits for the verdicts")
    again = lab.run(job)
    assert [name for name, cached in again.cached.items() if not cached] == made
    assert again.digest == first.digest
    assert planned(job) == dict.fromkeys(ORDER, "up to date")


def test_the_folders_record_equals_what_the_plan_finds(lab):
    result = lab.run(lab.job(lab.site.rows[:24], **SMALL))
    plan = replan(result.run)
    found = {}
    for product in products_of(plan):
        found[product.name] = product.status(plan, found)
    there = recorded(result.run)
    assert {name: one.digest for name, one in found.items()} == {
        name: one.digest for name, one in there.items()
    }
    assert all(one.current for one in there.values())


def test_a_shard_of_the_export_that_fails_is_quarantined_and_made_by_the_next_run(lab, monkeypatch):
    from pipeline.engine import export

    write = export.write_shard

    def broken(number, slices, scratch, blur):
        if number == 1:
            raise OSError("a picture cannot be read")
        return write(number, slices, scratch, blur)

    job = lab.job(lab.site.rows[:24], export={"shard_size": 10}, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.engine.export.write_shard", broken)
        first = lab.run(job)
    assert [(one["stage"], one["shard"]) for one in first.quarantined] == [("export", 1)]
    assert "export shard 00001 is quarantined at export" in " ".join(lab.said)
    assert (first.export, first.digest) == (None, "")
    assert stats(first.run)["export"] is None
    assert status(first.run)["stages"]["export"]["done"] == 2
    events = len(lab.log(first))
    second = lab.run(job)
    assert [(e["stages"], e["shard"]) for e in lab.log(second)[events:]] == [(["export"], 1)]
    assert second.quarantined == []
    assert stats(second.run)["export"]["rows"] == 24


def test_a_longer_list_is_named_by_plan_and_later_products_are_made(lab):
    job = lab.job(lab.site.rows[:24], **SMALL)
    lab.run(job)
    lab.write(lab.site.rows[:26])
    assert planned(job)["ingest"] == "the input changed: rows.parquet"
    again = lab.run(job)
    assert not any(again.cached.values())
    assert stats(again.run)["kept"] == 26


def test_a_takedown_removes_rows_from_every_product_and_makes_the_report_again(lab):
    result = lab.run(lab.job(lab.site.rows[:24], **SMALL))
    page = Path(result.run.folder.path("report.html"))
    uid = result.run.shard(0, ["uid"])["uid"][0].as_py()
    result.run.folder.write("train/model/model_index.json", b"{}")
    with (lab.folder / "said.txt").open("w") as stream:
        after, answer = forget(result.run, [("uid", uid, "--uid")], False, Lines(stream))
    assert answer["rewritten"]["exports"] == [result.export.folder.removeprefix("export/")]
    assert "rows cannot be removed from a trained model" in " ".join(answer["notes"])
    assert after.cached["report"] is False
    assert uid not in page.read_text()
    assert stats(after.run)["reasons"]["forgotten"] == 1


def test_a_job_whose_product_no_package_makes_is_refused(lab, monkeypatch):
    monkeypatch.setattr(singles, "registered", lambda: {"report": Report})
    job = load_job(lab.job(lab.site.rows[:4], train={}))
    with pytest.raises(Exception, match="train: this installation lacks the package `train`"):
        preview(job)


class Note(Single):
    """A product that is made alone, like a model by `winnow train`."""

    name = "note"
    rank = 5
    place = "note"

    def recipe(self):
        return {}

    def inputs(self, before):
        return {"export": digest_in(before, "export")}

    def produce(self, work):
        self.run.folder.write("note/note.txt", b"made")
        return Made(["note.txt"], 1)

    def paths(self):
        return {"note": self.run.folder.path("note/note.txt")}


def test_a_product_made_alone_is_recorded_as_a_product_of_the_run(lab, monkeypatch):
    job = lab.job(lab.site.rows[:24], **SMALL)
    run = lab.run(job).run
    before = run.folder.read("provenance.json")
    assert "note" not in recorded(run)
    monkeypatch.setattr(singles, "registered", lambda: {"note": Note, "report": Report})
    paths = make_only(load_job(job), "note")
    assert Path(paths["note"]).read_text() == "made"
    assert recorded(run)["note"].current
    assert status(run)["stages"]["note"]["done"] == 1
    # It may have been made on another machine than the data, which the provenance describes.
    assert run.folder.read("provenance.json") == before
    Path(paths["note"]).unlink()
    assert not recorded(run)["note"].current


def test_pictures_of_a_run_without_a_model_are_refused(lab):
    lab.run(lab.job(lab.site.rows[:24], **SMALL))
    job = lab.job(lab.site.rows[:24], train={}, sample={"prompts": ["a cat"]}, **SMALL)
    settings = ("sample.rerank_model=winnow-tiny",)
    with pytest.raises(InputError, match="has no finished train; `winnow run` makes one"):
        make_only(load_job(job, settings), "sample")


def test_the_report_sees_the_products_before_it_as_they_are_now(lab, monkeypatch):
    job = lab.job(lab.site.rows[:24], **SMALL)
    lab.run(job)
    seen = {}
    monkeypatch.setattr(
        "pipeline.inspect.report.write.write_report", lambda run: seen.update(run.state["products"])
    )
    lab.run(job, "rules=[]")
    assert {name: one["current"] for name, one in seen.items()} == (
        dict.fromkeys(ORDER, True) | {"report": False}
    )
    assert (seen["decide"]["cached"], seen["download"]["cached"]) == (False, True)


def test_the_report_of_a_finished_run_shows_its_end(lab):
    result = lab.run(lab.job(lab.site.rows[:24], **SMALL))
    page = Path(result.paths["report"]).read_text()
    assert "not finished" not in page
    assert "finished 20" in page
