import io
import json

import pytest
from made_run import RULES, Made, many_samples, sample
from rich.console import Console

from pipeline.inspect.explain import explain
from pipeline.inspect.explain_text import render
from pipeline.words.errors import InputError


def shown(explained) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(render(explained))
    return out.getvalue()


@pytest.mark.parametrize(
    ("i", "summary"),
    [
        (0, "kept: no rule takes it"),
        (40, "dropped: low_clip_score — clip_score 0.12 < 0.2"),
        (44, "dropped: caption_language — language de (language <> 'en')"),
        (46, "dropped: pii — pii_email 1, pii_phone 1 (pii_email > 0 OR pii_phone > 0)"),
        (48, "failed: http_not_found — 404 Not Found"),
        (51, "failed: url_missing — The row has no URL."),
    ],
)
def test_the_summary_gives_the_reason_in_one_line(made: Made, i: int, summary: str) -> None:
    explained = explain(made.run, made.row(i)["uid"])
    assert explained["summary"] == summary
    assert summary in shown(explained)


def test_a_duplicate_names_the_member_that_is_kept(made: Made) -> None:
    explained = explain(made.run, made.row(57)["uid"])
    kept = made.row(56)["uid"]
    assert explained["summary"] == f"dropped: duplicate — {kept} of its group is kept (phash, 0.97)"
    assert explained["duplicates"]["kept"] == kept
    assert explained["duplicates"]["size"] == 3
    assert [m["verdict"] for m in explained["duplicates"]["members"]] == [
        "kept",
        "dropped",
        "dropped",
    ]


def test_every_rule_is_shown_with_its_values_and_result(made: Made) -> None:
    explained = explain(made.run, made.row(42)["uid"])
    rules = {rule["reason"]: rule for rule in explained["rules"]}
    assert [rule["reason"] for rule in explained["rules"]] == [rule["reason"] for rule in RULES]
    assert rules["nsfw"]["values"] == {"punsafe": pytest.approx(0.9)}
    assert (rules["nsfw"]["result"], rules["nsfw"]["takes"], rules["nsfw"]["first"]) == (
        True,
        True,
        True,
    )
    assert (rules["low_clip_score"]["takes"], rules["low_clip_score"]["first"]) == (True, False)
    assert (rules["toxic_caption"]["result"], rules["toxic_caption"]["takes"]) == (False, False)


def test_an_unknown_result_that_drops_a_row_is_marked(make) -> None:
    rows = [sample(0, clip_score=None, reason="low_clip_score")]
    explained = explain(make(rows).run, rows[0]["uid"])
    (rule,) = [rule for rule in explained["rules"] if rule["reason"] == "low_clip_score"]
    assert (rule["result"], rule["takes"], rule["first"]) == (None, True, True)
    assert explained["summary"] == (
        "dropped: low_clip_score — unknown, and `if_null: drop` (clip_score < 0.2)"
    )


def test_rules_with_unknown_results_do_not_apply_to_a_failed_row(made: Made) -> None:
    explained = explain(made.run, made.row(48)["uid"])
    (rule,) = [rule for rule in explained["rules"] if rule["reason"] == "low_clip_score"]
    assert (rule["result"], rule["takes"]) == (None, False)
    assert explained["fetch"] == {
        "status": "failed", "reason": "http_not_found", "message": "404 Not Found",
    }  # fmt: skip


def test_measurements_are_grouped_by_stage_and_input_columns_are_separate(made: Made) -> None:
    explained = explain(made.run, made.row(3)["uid"])
    assert explained["measurements"]["captions"]["caption_words"] == 10
    assert explained["measurements"]["embed"]["clip_score"] == pytest.approx(
        made.row(3)["clip_score"]
    )
    assert explained["passthrough"] == {"source": "crawl-1"}
    json.dumps(explained)


def test_a_uid_prefix_and_a_url_find_the_row_too(made: Made) -> None:
    row = made.row(7)
    assert explain(made.run, row["uid"][:10].upper())["uid"] == row["uid"]
    assert explain(made.run, row["url"])["uid"] == row["uid"]


def test_the_nearest_key_is_suggested(made: Made) -> None:
    url = made.row(7)["url"]
    with pytest.raises(InputError, match=rf"no row .*the nearest is {url}"):
        explain(made.run, url[:-1])


def test_a_key_unlike_any_other_gets_no_suggestion(made: Made) -> None:
    with pytest.raises(InputError) as error:
        explain(made.run, "zzzz")
    assert "nearest" not in str(error.value)


def test_several_rows_of_one_url_are_listed_by_uid(make) -> None:
    rows = [sample(i, url="https://one.example/a.jpg") for i in range(3)]
    with pytest.raises(InputError, match="several rows match") as error:
        explain(make(rows).run, "https://one.example/a.jpg")
    assert all(row["uid"] in str(error.value) for row in rows)


def test_for_a_row_of_an_unfinished_shard_the_missing_stage_is_named(make) -> None:
    made = make(many_samples(), skip=frozenset({("decide", 0)}))
    explained = explain(made.run, made.row(3)["uid"])
    assert explained["summary"] == "unfinished: decide did not finish shard 0"
    assert explained["missing"] == ["decide"]
    assert "did not finish this shard" in shown(explained)


def test_words_of_the_list_and_personal_data_are_not_shown(made: Made) -> None:
    listed = shown(explain(made.run, made.row(45)["uid"]))
    assert "glorbex" not in listed
    assert "withheld: uses the job's word list, 1×" in listed
    personal = shown(explain(made.run, made.row(46)["uid"]))
    assert "jane.doe" not in personal
    assert "1234567" not in personal
    assert "write to ••• or" in personal


def test_terminal_controls_in_a_caption_are_harmless(make) -> None:
    rows = [sample(0, caption="red \x1b[31m alert \u202e turned [bold]not markup[/bold] here")]
    text = shown(explain(make(rows).run, rows[0]["uid"]))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]not markup[/bold]" in text
