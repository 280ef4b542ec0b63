"""Rows that may only be counted are never shown, even if their cells are still there."""

import io
import json
from pathlib import Path

import pytest
from made_run import sample
from rich.console import Console

from pipeline.inspect.explain import explain
from pipeline.inspect.explain_text import render
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import stats

SECRETS = ("kangaroo number 3 made", "/3.jpg", "found on list 7", "crawl-x", "12f00d")


@pytest.fixture(params=["blocklisted", "forgotten"])
def run(request, make):
    rows = [sample(i) for i in range(6)]
    rows[3] = sample(3, status="failed", fetch_reason=request.param, reason=request.param,
                     error_message="found on list 7", source="crawl-x")  # fmt: skip
    rows[3]["sha256"] = "12f00d" * 10
    return make(rows)


def test_explain_names_the_reason_and_nothing_else(run):
    explained = explain(run.run, run.row(3)["uid"])
    out = io.StringIO()
    Console(file=out, width=200).print(render(explained))
    reason = run.row(3)["reason"]
    assert explained["reason"] == reason
    assert explained["summary"].startswith(f"dropped: {reason} — ")
    assert (explained["caption"], explained["url"]) == ("[not shown]", "[not shown]")
    assert [s for s in SECRETS if s in out.getvalue() or s in json.dumps(explained)] == []
    assert "kangaroo number 2 made" in explain(run.run, run.row(2)["uid"])["caption"]


@pytest.mark.slow
def test_the_report_counts_them_and_shows_no_example(run):
    page = Path(write_report(run.run)).read_text()
    reason = run.row(3)["reason"]
    assert f"<code>{reason}</code>" in page
    assert f'id="example-{reason}"' not in page
    # A group of the balance section names a source, never a row.
    assert [s for s in SECRETS if s in page and s != "crawl-x"] == []
    assert run.row(3)["uid"][:12] not in page
    assert stats(run.run)["reasons"] == {reason: 1}
