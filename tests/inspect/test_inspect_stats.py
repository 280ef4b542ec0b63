import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from made_run import Made, many_samples, sample
from records import record
from rich.console import Console

from pipeline.inspect import tally
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import law, render, stats
from pipeline.table.parquet import write_parquet


def shown(renderable) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


def test_every_row_of_the_input_is_accounted_for(made: Made) -> None:
    found = stats(made.run)
    assert found["ingested"] == 63
    assert found["merged_repeats"] == 3
    assert (found["kept"], found["dropped"], found["failed"], found["unfinished"]) == (44, 10, 6, 0)
    assert found["conserved"] is True
    assert found["kept"] + sum(found["reasons"].values()) + found["merged_repeats"] == 63


def test_reasons_are_counted_as_first_as_any_and_as_only_reason(made: Made) -> None:
    found = stats(made.run)
    assert found["reasons"]["low_clip_score"] == 2
    assert found["reasons_any"]["low_clip_score"] == 3
    assert found["reasons_alone"]["low_clip_score"] == 2
    assert found["reasons"]["nsfw"] == 2
    assert found["reasons_alone"]["nsfw"] == 1


def test_a_reason_that_never_comes_first_is_still_counted(make) -> None:
    rows = [sample(0), sample(1, reason="nsfw", reasons=["nsfw", "low_clip_score"])]
    found = stats(make(rows).run)
    assert found["reasons"] == {"nsfw": 1}
    assert found["reasons_any"] == {"nsfw": 1, "low_clip_score": 1}


def test_stages_come_with_rows_seconds_and_whether_they_were_cached(made: Made) -> None:
    stages = stats(made.run)["stages"]
    assert stages["captions"] == {
        "rows": 60, "shards": 3, "seconds": 4.5, "peak_memory_mb": 202.0, "cached": True,
        "counts": {},
    }  # fmt: skip
    assert stages["decide"]["cached"] is False


def test_a_run_that_keeps_nothing_says_why_and_how_to_look(make) -> None:
    rows = [sample(i, reason="nsfw", reasons=["nsfw"]) for i in range(3)]
    rows += [sample(i, reason="http_not_found", reasons=["http_not_found"]) for i in range(3, 8)]
    made = make(rows)
    (alarm,) = stats(made.run)["alarms"]
    assert alarm.startswith("no row is kept: 5 of 8 have the reason http_not_found (404 or 410); ")
    assert alarm.endswith("from samples where reason = 'http_not_found' limit 3\"")
    assert f"! {alarm[:60]}" in shown(render(stats(made.run)))


def test_most_rows_failing_is_said_and_a_strict_rule_is_not(make) -> None:
    failed = [sample(i, reason="dns_failure", reasons=["dns_failure"]) for i in range(6)]
    (alarm,) = stats(make([*failed, sample(7), sample(8)]).run)["alarms"]
    assert alarm.startswith("6 of 8 rows failed: 6 of 8 have the reason dns_failure (The host")
    dropped = [sample(i, reason="nsfw", reasons=["nsfw"]) for i in range(6)]
    assert stats(make([*dropped, sample(7)]).run)["alarms"] == []
    assert stats(make([*failed[:1], sample(7)]).run)["alarms"] == []


def test_an_unfinished_run_raises_no_alarm(make) -> None:
    found = stats(make(many_samples(), skip=frozenset({("decide", i) for i in range(3)})).run)
    assert (found["kept"], found["alarms"]) == (0, [])


def test_unfinished_rows_are_counted_in_the_conservation_law(make) -> None:
    found = stats(make(many_samples(), skip=frozenset({("decide", 0)})).run)
    assert found["unfinished"] == 25
    assert found["conserved"] is True
    assert "25 unfinished" in law(found)
    assert "decide shard 0: worker died" in shown(render(found))


def test_a_lost_row_is_reported_as_a_violation_of_the_law(make) -> None:
    made = make(many_samples())
    changed = replace(made.run.index, rows_in=64)
    made.run.folder.write("shards/index.json", changed.encode())
    found = stats(made.run)
    assert found["conserved"] is False
    assert "1 rows unaccounted for" in law(found)


def test_a_part_in_another_order_is_reported_as_a_violation_of_the_law(make) -> None:
    made = make(many_samples())
    (path,) = Path(made.run.folder.path("parts")).glob("embed-*/00001.parquet")
    table = pa.parquet.read_table(path)
    turned = table.take([1, 0, *range(2, table.num_rows)])
    write_parquet(turned, path)
    record(path)
    found = stats(made.run)
    assert found["misaligned"] == 2
    assert found["conserved"] is False
    assert "2 rows stand beside another row's measurements" in law(found)


def test_the_export_is_counted_from_its_own_files(make) -> None:
    made = make(many_samples())
    folder = Path(made.run.folder.path("export/abc"))
    folder.mkdir(parents=True)
    write_parquet(pa.table({"key": ["0", "1"]}), folder / "00000.parquet")
    (folder / "00000.tar").write_bytes(b"x" * 10)
    state = made.run.state
    state["products"]["export"] = {
        "fingerprint": "abc", "keys": "export shards", "folder": "export/abc", "current": True,
    }  # fmt: skip
    made.run.folder.write("state.json", json.dumps(state).encode())
    assert stats(made.run)["export"] == {
        "folder": "export/abc", "rows": 2, "shards": 1, "bytes": 10,
    }  # fmt: skip


def test_the_terminal_shows_the_law_and_every_reason(made: Made) -> None:
    text = shown(render(stats(made.run)))
    assert "✓ 63 rows in = 44 kept + 10 dropped + 6 failed + 3 repeats merged" in text
    for reason in ("url_missing", "http_not_found", "low_clip_score", "duplicate"):
        assert reason in text


def test_no_rows_kept_and_a_single_row(make) -> None:
    found = stats(make([sample(0, reason="nsfw")]).run)
    assert (found["kept"], found["dropped"], found["conserved"]) == (0, 1, True)


@pytest.mark.slow
def test_what_the_report_counted_is_used_once_and_for_these_parts_alone(make, monkeypatch) -> None:
    first, other = make(many_samples()).run, make(many_samples()).run
    expected = stats(first)
    write_report(first)
    asked = []
    monkeypatch.setattr(tally, "each_chunk", lambda run, *_: asked.append(run) or iter(()))
    assert stats(other)["kept"] == 0
    assert stats(first) == expected
    assert stats(first)["kept"] == 0
    assert asked == [other, first]
