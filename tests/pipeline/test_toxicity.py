"""Caption toxicity: the packaged model, and which verdicts a job gives by its scores."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from planned_run import make_job, pairs
from rich.console import Console

from pipeline.config.captions import ToxicityConfig
from pipeline.inspect.preview import preview, render
from pipeline.measure.captions.toxicity import HATE, ToxicityStage
from pipeline.models import toxicity_network
from pipeline.models.toxicity import load_toxicity, toxicity_classes, toxicity_digest
from pipeline.models.toxicity_network import BATCH, CLASSES, WINDOW, ToxicityNetwork, words_of

HARMLESS = [
    "a black dog and a white dog run across a lawn",
    "a pig in mud",
    "a man in a dirty white shirt",
    "a kangaroo made of cheese on a hill",
    "great tit on a branch",
    "dead bird on the beach",
    "two men kiss at their wedding",
    "Muslim family in the park",
]
INSULTS = [
    "you are a stupid idiot",
    "what a dumb ugly piece of crap",
    "look at this pathetic loser and his ugly dog",
    "a kangaroo made of cheese on a hill, drawn by a moron",
]


@pytest.fixture(scope="module")
def network() -> ToxicityNetwork:
    return ToxicityNetwork()


def reasons(plan_run, captions: list[str], **toxicity) -> dict[str, list[str]]:
    """Each caption's reasons by the default rules of a job that judges toxicity alone."""
    rows = [{"url": f"https://a.example/{i}", "caption": c} for i, c in enumerate(captions)]
    sections = {"captions": {"toxicity": toxicity, "language": False}, "rules": None}
    planned = plan_run(rows, dedup={"bytes": False, "phash_distance": None}, **sections)
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        count = len(planned.rows(shard))
        planned.commit_part("download", shard, [{"status": "success"}] * count)
        planned.commit_part("dedup", shard, [{}] * count)
    planned.make("decide")
    return {caption: own["reasons"] for caption, own in planned.read("decide").items()}


def test_harmless_captions_stay_and_insulting_ones_go(plan_run):
    found = reasons(plan_run, HARMLESS + INSULTS)
    assert {c: r for c, r in found.items() if c in HARMLESS} == {c: [] for c in HARMLESS}
    assert {c: r for c, r in found.items() if c in INSULTS} == {
        c: ["toxic_caption"] for c in INSULTS
    }


def test_what_the_earlier_default_dropped_it_drops_still_if_it_is_asked_for(plan_run):
    found = reasons(plan_run, HARMLESS, model="profanity-check")
    assert found["a black dog and a white dog run across a lawn"] == ["toxic_caption"]
    assert found["a man in a dirty white shirt"] == ["toxic_caption"]
    assert found["a kangaroo made of cheese on a hill"] == []


def test_every_class_is_a_column(plan_run):
    rows = [{"url": "https://a.example/1", "caption": c} for c in ("i will kill you", "")]
    planned = plan_run(rows, captions={"toxicity": {}, "language": False})
    planned.make("toxicity")
    cells = planned.read("toxicity")["i will kill you"]
    assert set(cells) - {"uid"} == set(CLASSES)
    assert cells["threat"] > 0.3 > cells["identity_attack"]
    assert cells["insult"] > cells["severe_toxicity"]
    assert (
        dict(planned.read("toxicity")[""]) | dict.fromkeys(CLASSES, 0.0)
        == planned.read("toxicity")[""]
    )


def test_the_scores_are_those_that_were_noted(network: ToxicityNetwork):
    """Noted when the weights were made: another way to compute them must give the same."""
    captions = ["a pig in mud", "you are a stupid idiot", "i will kill you"]
    expected = [
        [0.0054, 0.0003, 0.0030, 0.0002, 0.0060, 0.0006],
        [0.9999, 0.0637, 0.7946, 0.0056, 0.8792, 0.0507],
        [0.9741, 0.1407, 0.3018, 0.4967, 0.4218, 0.1677],
    ]
    np.testing.assert_allclose(network.score(captions), expected, atol=1e-4)


def test_the_score_does_not_depend_on_the_other_captions(network: ToxicityNetwork):
    captions = [f"{'very ' * (i % 40)}stupid dog number {i}" for i in range(BATCH + 50)]
    together = network.score(captions)
    alone = [network.score([caption])[0] for caption in captions[::29]]
    np.testing.assert_allclose(together[::29], alone, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(network.score(captions), together)
    assert len(np.unique(together[:, 0])) > 30  # not one score for all


def test_words_without_a_place_in_the_list_do_not_count(network: ToxicityNetwork):
    assert network.score(["", "袋鼠", "xqzzk"]).tolist() == [[0.0] * len(CLASSES)] * 3
    np.testing.assert_allclose(*network.score(["a xqzzk pig 袋鼠", "a pig"]), atol=1e-6, rtol=0)
    assert network.score([]).shape == (0, len(CLASSES))


def test_an_insult_at_the_end_of_a_long_caption_is_found(network: ToxicityNetwork):
    long = "a dog on a hill " * WINDOW
    assert network.score([long])[0, 0] < 0.1
    assert network.score([long + "you stupid fucking idiot"])[0, 0] > 0.9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("You’re a FOOL!", ["you're", "a", "fool"]),
        ("black-and-white\tdog,\nrunning.", ["black", "and", "white", "dog", "running"]),
        ("ｆｕｌｌ width ﬁsh", ["full", "width", "fish"]),
        ("...", []),
    ],
)
def test_words(text: str, words: list[str]):
    assert words_of(text) == words


def test_parts_of_the_earlier_default_are_those_of_profanity_check(plan_run):
    """Their recipe named no model, because it was the default."""
    sections = {"captions": {"toxicity": {"model": "profanity-check"}, "language": False}}
    node = plan_run(pairs(1), **sections).plan.by_name["toxicity"]
    assert node.recipe["settings"] == {}
    assert node.recipe["version"] == 1
    assert list(node.recipe["models"]) == ["toxicity: profanity-check"]
    assert list(node.recipe["packages"]) == ["alt-profanity-check"]


def test_no_two_models_have_a_fingerprint_in_common(plan_run):
    found = {
        plan_run(pairs(1), captions={"toxicity": toxicity, "language": False}, name=name)
        .plan.by_name["toxicity"]
        .fingerprint
        for name, toxicity in (("new", {}), ("old", {"model": "profanity-check"}))
    }
    assert len(found) == 2


def test_the_digest_is_of_the_weights_and_words(monkeypatch, tmp_path: Path):
    before = toxicity_digest(ToxicityConfig())
    for name in toxicity_network.FILES:
        (tmp_path / name).write_bytes((toxicity_network.FOLDER / name).read_bytes())
    monkeypatch.setattr(toxicity_network, "FOLDER", tmp_path)
    assert toxicity_digest(ToxicityConfig()) == before
    (tmp_path / "words.txt").write_text("dog\n")
    assert toxicity_digest(ToxicityConfig()) != before


def test_plan_says_which_model_judges_and_what_it_cannot_tell(tmp_path: Path):
    job = make_job(tmp_path, pairs(1), captions={"toxicity": {}, "language": False})
    answer = preview(job)
    assert answer["limits"] == ["The captions' toxicity is judged by winnow-toxicity.", HATE]
    shown = Console(width=400, file=io.StringIO())
    shown.print(render(answer))
    lines = shown.file.getvalue().splitlines()
    assert [line.strip() for line in lines][-2:] == answer["limits"]

    without = preview(make_job(tmp_path, pairs(1)))
    assert without["limits"] == []


def test_the_figures_that_are_shown_are_those_that_were_measured():
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"HateCheck: found of the toxic \| ([0-9.]+ %)", page)
    (flagged,) = re.findall(r"HateCheck: flagged of the harmless \| ([0-9.]+ %)", page)
    assert f"flags {found} of the hateful ones and {flagged} of the others" in HATE


def test_nothing_is_said_of_a_model_that_was_not_measured(tmp_path: Path):
    job = make_job(tmp_path, pairs(1), captions={"toxicity": {"model": "unbiased"}})
    (judge, hate) = ToxicityStage(job).limits()
    assert judge == "The captions' toxicity is judged by unbiased."
    assert hate.endswith("is not measured here.")


@pytest.mark.parametrize("model", ["winnow-toxicity", "profanity-check"])
def test_without_captions_there_are_no_scores(model: str):
    config = ToxicityConfig(model=model)
    score = load_toxicity(config)
    assert {n: s.shape for n, s in score([]).items()} == dict.fromkeys(
        toxicity_classes(config), (0,)
    )
    assert {s.dtype for s in score(["a cat"]).values()} == {np.dtype(np.float32)}
