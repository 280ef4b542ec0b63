"""`only_if` is a mask over rows: a wider one measures the rows it adds, a narrower one nothing."""

import pytest
from lab import Lab

from pipeline.config.load import load_job
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query

TENS, TWENTIES = "url not like '%/1_.jpg'", "url not like '%/2_.jpg'"
"""Conditions that each leave out ten of the site's pictures."""


def reasons(result) -> dict[str, str | None]:
    rows = query(result.run, "select url, reason from samples").to_pylist()
    return {row["url"].rsplit("/", 1)[1]: row["reason"] for row in rows}


def test_another_mask_fetches_the_rows_that_it_adds_and_no_other(own, asked):
    sections = {"embed": {"model": "winnow-tiny"}, "audit_fraction": 0}
    rows = own.site.rows[:30]
    first = own.run(own.job(rows, download={"only_if": f"{TENS} and {TWENTIES}"}, **sections))
    assert len(asked) == 10
    asked.clear()
    second = own.run(own.job(rows, download={"only_if": TENS}, **sections))
    assert sorted(asked) == [f"/{i}.jpg" for i in range(20, 30)]
    assert {k for k, v in reasons(second).items() if v} == {f"{i}.jpg" for i in range(10, 20)}
    # Those measured before keep their vectors: each shard's part says how many it measured now.
    scores = query(second.run, "select count(clip_score) as n from samples").to_pylist()
    assert scores == [{"n": 20}]
    asked.clear()
    third = own.run(own.job(rows, download={"only_if": f"{TENS} and {TWENTIES}"}, **sections))
    assert asked == []
    assert third.digest == first.digest
    assert reasons(third) == reasons(first)
    stored = query(third.run, "select count(sha256) as n from samples").to_pylist()
    assert stored == [{"n": 20}]  # what was fetched is kept
    own.run(own.job(rows, download={"only_if": TENS}, **sections))
    assert asked == []
    own.run(own.job(rows, **sections))
    assert sorted(asked) == [f"/{i}.jpg" for i in range(10, 20)]


def test_the_result_is_that_of_a_fresh_run(own, tmp_path):
    rows, sections = own.site.rows[:30], {"audit_fraction": 0.3}
    own.run(own.job(rows, download={"only_if": f"{TENS} and {TWENTIES}"}, **sections))
    changed = own.run(own.job(rows, download={"only_if": TENS}, **sections))
    (tmp_path / "fresh").mkdir()
    fresh = Lab(own.site, tmp_path / "fresh", own.cluster)
    other = fresh.run(fresh.job(rows, download={"only_if": TENS}, **sections))
    assert changed.digest == other.digest
    text = "select uid, reason, reasons, audit from samples order by uid"
    assert query(changed.run, text).equals(query(other.run, text))


def test_a_mask_over_another_stages_column_measures_the_rows_it_lets_in(own):
    """`images` waits for the column that its mask reads, but is not stale when that changes."""
    rows, counts = (
        own.site.rows[:20],
        "select count(clip_score) as c, count(punsafe) as p from samples",
    )

    def run(only_if):
        images = {"nsfw": "opennsfw", "only_if": only_if}
        embed = {"model": "winnow-tiny"}
        return own.run(own.job(rows, images=images, embed=embed, audit_fraction=0))

    result = run("clip_score < -1")
    assert query(result.run, counts).to_pylist() == [{"c": 20, "p": 0}]
    result = run("clip_score > -1")
    assert query(result.run, counts).to_pylist() == [{"c": 20, "p": 20}]
    assert (result.cached["images"], result.cached["embed"]) == (False, True)
    result = run("clip_score > -1 and caption_words > 0")
    assert (result.cached["images"], result.cached["embed"]) == (True, True)


def test_plan_names_the_mask_that_changed(own):
    job = own.job(own.site.rows[:20], audit_fraction=0)
    own.run(job)
    other = load_job(job, [f"download.only_if={TENS}"])
    reported = {row["stage"]: row for row in preview(other)["stages"]}
    assert reported["captions"]["why"] == "up to date"
    assert TENS in reported["download"]["why"]
    assert "only the rows that this concerns" in reported["download"]["why"]


def test_the_audit_draws_more_rows_when_its_share_grows(own, asked):
    rows = own.site.rows[:20]
    mask = {"only_if": TENS}
    own.run(own.job(rows, download=mask, audit_fraction=0))
    asked.clear()
    result = own.run(own.job(rows, download=mask, audit_fraction=1))
    assert sorted(asked) == [f"/{i}.jpg" for i in range(10, 20)]
    assert set(reasons(result).values()) == {None, "not_measured"}


@pytest.mark.parametrize("stage", ["download", "embed"])
def test_a_shard_killed_between_mask_and_measure_goes_on(own, monkeypatch, counts, stage):
    """What a killed driver had measured is used; the rest is measured by the next run."""
    from pipeline.engine.renewal import Renewal

    rows = own.site.rows[:30]
    sections = {"embed": {"model": "winnow-tiny"}, "audit_fraction": 0}
    own.run(own.job(rows, download={"only_if": TENS}, **sections))
    commit = Renewal.commit
    died: list[int] = []

    def dying(self, plan, output, start):
        # The site's port decides which shards hold rows that the wider mask adds.
        if self.node.name == stage and not died:
            died.append(self.data.shard)
            raise RuntimeError("no more")
        return commit(self, plan, output, start)

    monkeypatch.setattr(Renewal, "commit", dying)
    lost = own.run(own.job(rows, **sections))
    assert died
    assert [q["shard"] for q in lost.quarantined] == died
    monkeypatch.undo()
    result = own.run(own.job(rows, **sections))
    seen = counts(result)
    assert (seen["kept"], seen["conserved"], result.quarantined) == (30, True, [])
