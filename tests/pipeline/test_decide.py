"""Verdicts: one reason or none for every row, and one kept row in each duplicate group."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_run import PlannedRun, make_job, pairs

from pipeline.config.job import Job
from pipeline.measure.registry import default_rules

OK = {"status": "success"}
ANY_SIZE = {"min_image_size": 1, "max_aspect_ratio": 1_000}
DUPLICATE = {"reason": "duplicate", "when": "dup_group is not null"}
SMALL = {"reason": "low_resolution", "when": "original_width < 100", "if_null": "drop"}


def judge(
    planned: PlannedRun, downloads: list[dict[str, Any]], dedups: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Verdicts by row of the list, given the cells of `download` and `dedup` by row of the list.

    `dup_group` is given as a row of the list; `dup_pixels` are the picture's.
    """
    captions = [row["caption"] for row in pairs(len(downloads))]
    uids = {row["caption"]: row["uid"] for s in planned.shards for row in planned.rows(s)}
    groups = [
        own | ({"dup_group": uids[captions[own["dup_group"]]]} if "dup_group" in own else {})
        for own in dedups or [{}] * len(downloads)
    ]
    groups = [
        {"dup_pixels": fetched.get("original_pixels")} | own
        for fetched, own in zip(downloads, groups, strict=True)
    ]
    planned.make(*planned.caption_stages)
    for stage, cells in (("download", downloads), ("dedup", groups)):
        for shard in planned.shards:
            places = [captions.index(row["caption"]) for row in planned.rows(shard)]
            planned.commit_part(stage, shard, [cells[place] for place in places])
    planned.make("decide")
    verdicts = planned.read("decide")
    names = {uid: captions.index(caption) for caption, uid in uids.items()}
    found = []
    for caption in captions:
        own = verdicts[caption]
        found.append({**own, "dup_of": names.get(own["dup_of"])})
        assert own["reason"] == (own["reasons"][0] if own["reasons"] else None)
    return found


def reasons(verdicts) -> list[list[str]]:
    return [own["reasons"] for own in verdicts]


def test_a_rows_reason_is_the_first_true_rule_and_its_reasons_are_all(plan_run):
    rules = [
        {"reason": "x_wide", "when": "original_width > 500"},
        {"reason": "x_huge", "when": "original_width > 900"},
        {"reason": "caption_short", "when": "caption_words < 3"},
    ]
    downloads = [OK | {"original_width": w} for w in (100, 600, 1000)]
    verdicts = judge(plan_run(pairs(3), rules=rules), downloads)
    assert [own["reason"] for own in verdicts] == [None, "x_wide", "x_wide"]
    assert reasons(verdicts) == [[], ["x_wide"], ["x_wide", "x_huge"]]


def test_two_rules_may_share_a_reason(plan_run):
    rules = [
        {"reason": "x_odd", "when": "original_width < 100"},
        {"reason": "x_else", "when": "original_width < 100"},
        {"reason": "x_odd", "when": "original_height < 100"},
    ]
    downloads = [
        OK | {"original_width": 50, "original_height": 50},
        OK | {"original_width": 200, "original_height": 50},
    ]
    verdicts = judge(plan_run(pairs(2), rules=rules, download=ANY_SIZE), downloads)
    assert reasons(verdicts) == [["x_odd", "x_else"], ["x_odd"]]


@pytest.mark.parametrize(("if_null", "expected"), [("keep", []), ("drop", ["low_resolution"])])
def test_if_null_decides_what_an_unknown_result_means(plan_run, if_null: str, expected):
    verdicts = judge(plan_run(pairs(1), rules=[SMALL | {"if_null": if_null}]), [OK])
    assert reasons(verdicts) == [expected]


def test_a_failed_row_also_gets_the_reasons_of_true_rules_but_not_of_unknown_ones(plan_run):
    rules = [SMALL, {"reason": "x_long", "when": "caption_words > 2"}]
    downloads = [
        {"status": "failed", "fetch_reason": "timeout"},
        {"status": "failed", "fetch_reason": "image_too_small", "original_width": 5},
    ]
    verdicts = judge(plan_run(pairs(2), rules=rules), downloads)
    assert reasons(verdicts) == [
        ["timeout", "x_long"],
        ["image_too_small", "low_resolution", "x_long"],
    ]


def test_a_row_that_could_not_be_read_keeps_that_reason(plan_run):
    planned = plan_run([{"url": None, "caption": "a cat"}, *pairs(1)])
    planned.make(*planned.caption_stages)
    cells = {"a cat": {"status": "invalid"}, pairs(1)[0]["caption"]: OK}
    planned.commit_part("download", 0, [cells[row["caption"]] for row in planned.rows(0)])
    planned.commit_part("dedup", 0, [{}, {}])
    planned.make("decide")
    assert planned.read("decide")["a cat"]["reasons"] == ["url_missing"]


def test_a_row_left_out_gets_the_reason_of_a_true_rule_or_not_measured(plan_run):
    """`only_if` excluded the row, so that its measurements are unknown."""
    rules = [SMALL, {"reason": "x_one", "when": "caption like '%number 1'"}]
    verdicts = judge(plan_run(pairs(2), rules=rules), [{"status": "skipped"}] * 2)
    assert reasons(verdicts) == [["not_measured"], ["x_one"]]


def test_without_hashes_in_the_list_there_is_no_rule_over_hashes(plan_run):
    rules = plan_run(pairs(1)).plan.by_name["decide"].stage.rules
    assert "hash_mismatch" not in [rule.reason for rule in rules]


FACTS = OK | {"original_width": 300, "original_height": 200, "original_pixels": 60_000,
              "format": "jpeg", "bytes": 1_000, "sha256": "ab" * 32}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "download", "expected"),
    [
        ({}, {}, []),
        ({"original_height": 63}, {"max_aspect_ratio": 9}, ["image_too_small"]),
        ({"original_height": 64}, {"max_aspect_ratio": 9}, []),
        ({"original_height": 150}, {"min_image_size": 151}, ["image_too_small"]),
        ({"original_width": 601}, {}, ["image_aspect_ratio"]),
        ({"original_width": 600}, {}, []),
        ({"original_width": 301}, {"max_image_side": 300}, ["image_too_large"]),
        ({"original_pixels": 60_001}, {"max_image_pixels": 60_000}, ["image_too_many_pixels"]),
        ({"bytes": 2_001}, {"max_bytes": 2_000}, ["too_large"]),
        ({"format": "gif"}, {"formats": ["jpeg", "png"]}, ["not_an_image"]),
        ({"format": "gif"}, {}, []),
        ({"robots_tag": "noai"}, {}, ["opted_out_robots_tag"]),
        ({"robots_tag": "noai"}, {"respect_robots_tag": False}, []),
        ({"tdm_reservation": True}, {}, ["opted_out_tdm"]),
        ({"tdm_reservation": False}, {}, []),
        ({"tdm_reservation": True}, {"respect_tdm_reservation": False}, []),
        ({"optout_metadata": "plus: DMI-PROHIBITED"}, {}, ["opted_out_metadata"]),
        ({"optout_metadata": "plus: DMI-PROHIBITED"}, {"respect_metadata": False}, []),
        ({"robots_txt": "forbidden"}, {}, ["opted_out_robots_txt"]),
        ({"robots_txt": "allowed"}, {}, []),
    ],
)  # fmt: skip
def test_facts_of_the_fetch_are_judged_by_the_download_section(plan_run, facts, download, expected):
    verdicts = judge(plan_run(pairs(1), download=download), [FACTS | facts])
    assert reasons(verdicts) == [expected]


@pytest.mark.parametrize(
    ("given", "verify", "expected"),
    [
        (" " + "AB" * 32 + " ", True, []),
        ("cd" * 32, True, ["hash_mismatch"]),
        ("cd" * 32, False, []),
        ("", True, []),
        (None, True, []),
    ],
)
def test_the_lists_hash_is_compared_with_the_stored_one(plan_run, given, verify, expected):
    planned = plan_run([pairs(1)[0] | {"sha256": given}], download={"verify_hash": verify})
    held = [
        rule.when for rule in planned.plan.by_name["decide"].stage.rules if "sha256" in rule.when
    ]
    assert len(held) == verify
    assert all('"input_sha256"' in when for when in held)
    assert reasons(judge(planned, [FACTS])) == [expected]


def group(leader: int, count: int) -> list[dict[str, Any]]:
    return [{"dup_group": leader, "dup_sim": 1.0, "dup_kind": "bytes"} for _ in range(count)]


def test_the_best_member_of_a_group_is_kept(plan_run):
    downloads = [OK | {"original_pixels": p} for p in (100, 900, 400, 100)]
    dedups = [*group(0, 3), {}]
    verdicts = judge(plan_run(pairs(4), shard_size=2, rules=[DUPLICATE]), downloads, dedups)
    assert reasons(verdicts) == [["duplicate"], [], ["duplicate"], []]
    assert [own["dup_of"] for own in verdicts] == [1, None, 1, None]


def test_the_best_member_that_no_other_rule_drops_is_kept(plan_run):
    """The largest is dropped for its caption: the next must not be dropped as its duplicate."""
    rules = [{"reason": "x_one", "when": "caption like '%number 1'"}, DUPLICATE]
    downloads = [OK | {"original_pixels": p} for p in (100, 900, 400)]
    verdicts = judge(plan_run(pairs(3), rules=rules), downloads, group(0, 3))
    assert reasons(verdicts) == [["duplicate"], ["x_one", "duplicate"], []]
    assert [own["dup_of"] for own in verdicts] == [2, 2, None]


def test_if_no_member_is_kept_none_is_a_duplicate(plan_run):
    rules = [{"reason": "x_all", "when": "caption_words > 2"}, DUPLICATE]
    downloads = [OK | {"original_pixels": 100}] * 2
    verdicts = judge(plan_run(pairs(2), rules=rules), downloads, group(0, 2))
    assert reasons(verdicts) == [["x_all"], ["x_all"]]
    assert [own["dup_of"] for own in verdicts] == [None, None]


def test_without_the_duplicate_rule_repeats_are_kept(plan_run):
    verdicts = judge(plan_run(pairs(2)), [OK] * 2, group(0, 2))
    assert reasons(verdicts) == [[], []]


def test_a_duplicate_is_reported_in_the_rules_order(plan_run):
    rules = [DUPLICATE, {"reason": "x_zero", "when": "caption like '%number 0'"}]
    downloads = [OK | {"original_pixels": p} for p in (900, 100)]
    verdicts = judge(plan_run(pairs(2), rules=rules), downloads, group(0, 2))
    assert reasons(verdicts) == [["duplicate", "x_zero"], []]
    assert verdicts[0]["reason"] == "duplicate"


def test_only_members_that_the_rule_matches_are_compared(plan_run):
    """A rule stricter than the stage: rows with `dup_sim` below 0.99 are no duplicates."""
    rules = [{"reason": "duplicate", "when": "dup_sim > 0.99"}]
    dedups = [own | {"dup_sim": s} for own, s in zip(group(0, 3), (1.0, 1.0, 0.97), strict=True)]
    downloads = [OK | {"original_pixels": p} for p in (100, 200, 300)]
    verdicts = judge(plan_run(pairs(3), rules=rules), downloads, dedups)
    assert reasons(verdicts) == [["duplicate"], [], []]


def test_ties_are_decided_by_the_next_column_and_then_by_uid(plan_run):
    rows = pairs(4)
    planned = plan_run(rows, rules=[DUPLICATE], dedup={"prefer": ["original_pixels", "bytes"]})
    downloads = [OK | {"original_pixels": 100, "bytes": b} for b in (5, 7, 7, None)]
    verdicts = judge(planned, downloads, group(0, 4))
    uids = {row["caption"]: row["uid"] for row in planned.rows(0)}
    first = min((1, 2), key=lambda i: uids[rows[i]["caption"]])
    assert [i for i, own in enumerate(verdicts) if own["reason"] is None] == [first]


def test_clip_score_ranks_where_it_is_measured(plan_run):
    import numpy as np

    rules = [DUPLICATE]
    planned = plan_run(pairs(3), rules=rules, embed={"model": "winnow-tiny"})
    planned.make(*planned.caption_stages)
    rows = planned.rows(0)
    planned.commit_part("download", 0, [OK | {"original_pixels": 100}] * 3)
    planned.commit_vectors(0, np.ones((3, 8)), [0.1, 0.3, None])
    planned.commit_part("dedup", 0, [{"dup_group": rows[0]["uid"]}] * 3)
    planned.make("decide")
    verdicts = planned.read("decide")
    assert [verdicts[row["caption"]]["reason"] for row in rows] == ["duplicate", None, "duplicate"]


def test_the_default_rules_can_be_judged(plan_run):
    planned = plan_run(pairs(2), rules=None)
    assert planned.plan.job.rules == default_rules(planned.plan.job)
    verdicts = judge(planned, [OK, OK], group(0, 2))
    assert sorted(map(str, reasons(verdicts))) == ["['duplicate']", "[]"]


def test_the_default_rules_follow_what_is_measured():
    def names(**sections) -> list[str]:
        return [rule.reason for rule in default_rules(Job(input="x", **sections))]

    assert names() == [
        "caption_short", "caption_long", "pii", "toxic_caption", "nsfw", "duplicate",
    ]  # fmt: skip
    bare = {"captions": {"toxicity": None, "vocabulary": "w"}, "images": {"nsfw": None}}
    assert names(**bare, embed={"model": "winnow-tiny"}) == [
        "caption_short", "caption_long", "pii", "vocabulary", "low_clip_score", "duplicate",
    ]  # fmt: skip


CELL = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["success", "failed", "skipped"]),
        "original_width": st.none() | st.integers(1, 200),
        "original_pixels": st.none() | st.integers(1, 5),
        "group": st.none() | st.integers(0, 2),
    }
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(CELL, min_size=1, max_size=9), st.integers(1, 4))
def test_any_verdicts_satisfy_the_conservation_law(tmp_path_factory, cells, shard_size):
    folder = tmp_path_factory.mktemp("law")
    rules = [SMALL, {"reason": "x_odd", "when": "original_width % 2 = 1"}, DUPLICATE]
    planned = PlannedRun.of(
        make_job(folder, pairs(len(cells)), shard_size=shard_size, rules=rules, download=ANY_SIZE),
        folder,
    )
    downloads, dedups = [], []
    for cell in cells:
        failed = {"fetch_reason": "timeout"} if cell["status"] == "failed" else {}
        seen = {n: cell[n] for n in ("original_width", "original_pixels")}
        success = cell["status"] == "success"
        downloads.append({"status": cell["status"], **failed, **(seen if success else {})})
        grouped = success and cell["group"] is not None
        dedups.append({"dup_group": cell["group"]} if grouped else {})
    # A group's name is the uid of its leader, so the list must contain that row.
    dedups = [own if own.get("dup_group", 0) < len(cells) else {} for own in dedups]
    verdicts = judge(planned, downloads, dedups)
    for cell, own in zip(cells, verdicts, strict=True):
        if cell["status"] == "failed":
            assert own["reasons"] == ["timeout"]
        elif cell["status"] == "skipped":
            assert own["reasons"] == ["not_measured"]
        else:
            width = cell["original_width"]
            expected = ["low_resolution"] if width is None or width < 100 else []
            expected += ["x_odd"] if width is not None and width % 2 else []
            assert [r for r in own["reasons"] if r != "duplicate"] == expected
    for number in range(3):
        members = [v for v, d in zip(verdicts, dedups, strict=True) if d.get("dup_group") == number]
        clean = [own for own in members if not set(own["reasons"]) - {"duplicate"}]
        kept = [own for own in members if own["reason"] is None]
        assert len(kept) == (1 if clean else 0)
        for own in members:
            assert ("duplicate" in own["reasons"]) == bool(kept and own is not kept[0])
            assert (own["dup_of"] is not None) == ("duplicate" in own["reasons"])
