"""The examples of docs/plugins.md: classes of another package work without other changes."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.config.load import load_job
from pipeline.engine import singles
from pipeline.export import registry as layouts
from pipeline.inspect.explain import explain
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query
from pipeline.inspect.status import status
from pipeline.measure import registry as stages
from pipeline.models.clip import load_clip
from pipeline.models.heads import registry as heads
from pipeline.shell.reference import columns_page, config_page
from pipeline.words.errors import InputError
from train.judges import load_judges

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch):
    """`install(entry points)`: makes the page's package look installed."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)

    def install(points: dict[str, dict[str, str]]) -> None:
        (site / "my_winnow").mkdir(parents=True, exist_ok=True)
        for code in blocks("python"):
            name = re.match(r"# (\S+)", code)[1]
            (site / name).write_text(code)
        facts = site / "my_winnow-1.dist-info"
        facts.mkdir(exist_ok=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-winnow\nVersion: 1\n")
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())
            for group, found in points.items()
        ]
        (facts / "entry_points.txt").write_text("\n".join(lines))
        forget()

    def forget() -> None:
        for registry in (stages, heads, layouts, singles):
            registry.registered.cache_clear()

    yield install
    forget()


def page_points() -> dict[str, dict[str, str]]:
    return tomllib.loads(blocks("toml")[0])["project"]["entry-points"]


def test_the_stages_of_the_page_run(own, installed, asked, counts):
    installed(page_points())
    sections = yaml.safe_load(blocks("yaml")[-1])
    rows = [dict(row) for row in own.site.rows[:6]]
    rows[2]["caption"] = rows[2]["caption"].upper()
    job = own.job(rows, rules=None, dedup={"phash_distance": None}, **sections)
    result = own.run(job)
    found = query(result.run, "select url, capitals, brightness, reason from samples").to_pylist()
    loud = next(row for row in found if row["url"] == rows[2]["url"])
    assert (loud["capitals"], loud["reason"]) == (1.0, "x_shouting")
    assert all(0 < row["brightness"] < 1 for row in found)
    seen = counts(result)
    assert (seen["conserved"], seen["reasons"]) == (True, {"x_shouting": 1})
    assert stages.step_of("shouting") == "Caption rules"
    assert (
        explain(result.run, rows[2]["url"])["summary"] == "dropped: x_shouting — capitals 1 > 0.9"
    )
    folder = Path(result.run.folder.path(result.export.folder))
    assert len((folder / "00000.captions.txt").read_text().splitlines()) == 5
    assert json.loads((folder / "manifest.json").read_text())["layouts"] == {"plain-text": 1}
    # Its settings are part of its fingerprint, its mask is not.
    asked.clear()
    masked = own.run(job, "measure.brightness.only_if=caption_words > 3")
    assert (masked.cached["brightness"], masked.cached["download"], asked) == (True, True, [])
    other = own.run(job, "measure.brightness.channel=2")
    assert (other.cached["brightness"], other.cached["shouting"], asked) == (False, True, [])


def test_the_product_of_the_page_is_planned_and_made_like_every_other(own, installed):
    installed(page_points())
    job = own.job(own.site.rows[:4])

    def planned(*overrides: str) -> dict[str, str]:
        rows = preview(load_job(job, overrides))["stages"]
        return {row["stage"]: row["why"] for row in rows}

    assert planned()["lengths"] == "waits for ingest"
    result = own.run(job)
    page = Path(result.paths["lengths"])
    lengths = sorted(len(row["caption"]) for row in own.site.rows[:4])
    lines = [line.split(",") for line in page.read_text().splitlines()[1:]]
    assert [int(n) for n, count in lines for _ in range(int(count))] == lengths
    assert status(result.run)["stages"]["lengths"]["rows"] == 4
    assert planned("rules=[]")["lengths"] == "up to date"
    own.write(own.site.rows[:5])
    assert not own.run(job).cached["lengths"]
    page.write_text("cut")
    assert planned()["lengths"] == "missing or unfinished"
    again = own.run(job)
    assert [name for name, cached in again.cached.items() if not cached] == ["lengths"]
    assert len(page.read_text().splitlines()) > 1


EXAMPLES = np.eye(3, 128, dtype=np.float32)


def head_job(own, path: Path, **more) -> Path:
    """The head of the page, over the vectors of the packaged model."""
    head = yaml.safe_load(blocks("yaml")[0])["images"]["heads"][0] | {"weights": str(path)}
    images = {"nsfw": None, "heads": [head | more]}
    return own.job(own.site.rows[:4], embed={"model": "winnow-tiny"}, images=images)


def test_the_head_of_the_page_runs(own, installed, asked, counts):
    installed(page_points())
    weights = own.folder / "examples.npy"
    np.save(weights, EXAMPLES)
    job = head_job(own, weights)
    result = own.run(job)
    rows = query(result.run, "select like_mine, shard, row from samples").to_pylist()
    [part] = Path(result.run.folder.path("parts")).glob("embed-*")
    vectors = np.load(part / "00000.img.npy")
    expected = (vectors.astype(np.float32) @ EXAMPLES.T).max(axis=1)
    assert [r["like_mine"] for r in rows] == pytest.approx(
        [expected[r["row"]] for r in rows], abs=1e-6
    )
    assert counts(result)["conserved"] is True
    asked.clear()
    np.save(weights, EXAMPLES[:1])  # other weights: only the head is measured again
    other = own.run(job)
    assert (other.cached["heads"], other.cached["embed"], asked) == (False, True, [])


def test_the_head_of_the_page_judges_drawn_pictures(own, installed):
    installed(page_points())
    weights = own.folder / "examples.npy"
    np.save(weights, EXAMPLES)
    judges = load_judges(load_job(head_job(own, weights)), ["like_mine"])
    clip = load_clip("winnow-tiny")
    pictures = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), np.uint8)
    vectors = clip.encode_images(np.stack([clip.preprocess(p) for p in pictures]))
    expected = (vectors.astype(np.float32) @ EXAMPLES.T).max(axis=1)
    np.testing.assert_allclose(judges["like_mine"](pictures), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"kind": "exampels"}, r"heads\[0\].kind: .* `exampels`; did you mean `examples`\?"),
        ({"weigths": "x"}, r"heads\[0\]: unknown key `weigths`; did you mean `weights`\?"),
        ({"weights": "none.npy"}, r"heads\[0\].weights: none.npy does not exist"),
        ({}, r"heads\[0\].weights: \(3, 64\) found, \(examples, 128\) is expected"),
    ],
)
def test_a_wrong_head_of_another_package_is_named_before_any_work(own, installed, more, expected):
    installed(page_points())
    weights = own.folder / "examples.npy"
    np.save(weights, EXAMPLES[:, :64])
    with pytest.raises(InputError, match=expected):
        preview(load_job(head_job(own, weights, **more)))


def test_its_kind_of_head_is_documented(installed):
    installed(page_points())
    assert "## `images.heads[kind: examples]`\n\nLikeness to examples." in config_page()


def test_its_section_and_columns_are_documented(installed):
    installed(page_points())
    page = config_page()
    assert "## `measure.brightness`" in page
    assert "| `channel` | integer \\| null | null | 0 red, 1 green, 2 blue; else all. |" in page
    assert "| `capitals` | float | Capitals among the caption's letters, 0–1. |" in columns_page()


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ({"brightnes": {}}, "there is no measurement `brightnes`; did you mean `brightness`?"),
        ({"captions": {}}, "there is no measurement `captions`; there are brightness, shouting|"),
        ({"brightness": {"chanel": 1}}, r"measure.brightness: .*`chanel`.*`channel`"),
        ({"brightness": {"channel": 7}}, r"measure.brightness: .*`channel`"),
        ({"brightness": {"only_if": "phash_qualiti > 1"}}, r"brightness.only_if: .*phash_quality"),
    ],
)
def test_a_wrong_section_is_named_before_any_work(own, installed, measure, expected):
    installed(page_points())
    with pytest.raises(InputError, match=expected):
        preview(load_job(own.job(own.site.rows[:2], measure=measure)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("my_winnow.shouting:Missing", "cannot be used: .*Missing"),
        ("my_winnow.shouting:Column", "is no Stage"),
        ("pipeline.measure.stage:TableStage", "is no Stage; it lacks run, writes|it lacks .*run"),
        ("pipeline.measure.captions.pii:PIIStage", "has the name of another one"),
    ],
)
def test_an_unusable_stage_is_named_with_its_package(installed, value, expected):
    installed({"winnow.stages": {"mine": value}})
    with pytest.raises(InputError, match=rf"the stage `mine` of my-winnow .*({expected})"):
        stages.registered()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("my_winnow.examples:Missing", "cannot be used: .*Missing"),
        ("my_winnow.examples:ExamplesConfig", "is no HeadKind"),
        ("pipeline.models.heads.layers:LayersHead", "is no HeadKind; it lacks check_layers"),
        ("pipeline.models.heads.linear:LinearHead", "has the name of another one"),
    ],
)
def test_an_unusable_head_is_named_with_its_package(installed, value, expected):
    installed({"winnow.heads": {"mine": value}})
    with pytest.raises(InputError, match=rf"the head kind `mine` of my-winnow .*({expected})"):
        heads.registered()


def test_without_plugins_no_measurement_can_be_named(own):
    with pytest.raises(InputError, match="no measurement `x`; there are faces, pixels, nudenet"):
        preview(load_job(own.job(own.site.rows[:2], measure={"x": {}})))
