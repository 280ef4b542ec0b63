"""Candidates drawn, judged, ranked and shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.training import SampleConfig, TrainConfig
from pipeline.words.errors import InputError
from train.fit import fit
from train.rerank import Candidate, judge_candidates, rank_candidates
from train.sample import sample, slug

CONFIG = SampleConfig(
    prompts=("a cat made of wood on a hill", "a Ship in the sea!"),
    candidates=5,
    keep=3,
    num_inference_steps=2,
    batch_size=2,
    seed=10,
)


@pytest.fixture(scope="module")
def model(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainConfig(
        pretrained_model_name_or_path=None,
        resolution=16,
        train_batch_size=2,
        max_train_steps=2,
        lr_warmup_steps=0,
    )
    return fit(export, tmp_path_factory.mktemp("model"), config)


def lines_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_every_candidate_is_logged_and_the_best_safe_ones_shown(
    model: Path, tmp_path: Path
) -> None:
    shown: list[tuple[int, int]] = []

    def brightness(pictures: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.uint8
        assert pictures.shape == (5, 16, 16, 3)
        return np.array([0.9, 0.1, 0.2, 0.1, 0.6])

    log = sample(
        model,
        tmp_path,
        CONFIG.model_copy(update={"judge_thresholds": {"lenient": 0.95}}),
        "f" * 64,
        lambda done, total, figures: shown.append((done, total)),
        {"brightness": brightness, "lenient": brightness},
    )
    lines = lines_of(log)
    assert [(line["prompt"], line["seed"]) for line in lines] == [
        (prompt, seed) for prompt in CONFIG.prompts for seed in range(10, 15)
    ]
    for group in (lines[:5], lines[5:]):
        assert [line["unsafe"] for line in group] == [["brightness"], [], [], [], ["brightness"]]
        assert group[0]["verdicts"] == {"brightness": 0.9, "lenient": 0.9}
        assert (group[0]["rank"], group[0]["kept"]) == (None, False)
        safe = sorted(group[1:4], key=lambda line: -line["score"])
        assert [line["rank"] for line in safe] == [1, 2, 3]
    assert {line["export"] for line in lines} == {"f" * 64}
    assert len({line["model"] for line in lines}) == 1
    assert shown[-1] == (20, 20)
    sheets = sorted(path.name for path in tmp_path.glob("*.png"))
    assert sheets == ["grid-2-a-ship-in-the-sea.png", "grid.png"]
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width > 3 * 256


def test_sheets_of_an_earlier_call_are_removed(model: Path, tmp_path: Path) -> None:
    sample(model, tmp_path, CONFIG, "f")
    sample(model, tmp_path, CONFIG.model_copy(update={"prompts": ("a cat",)}), "f")
    assert [path.name for path in tmp_path.glob("*.png")] == ["grid.png"]


def test_a_candidate_does_not_depend_on_its_batch(model: Path, tmp_path: Path) -> None:
    one = CONFIG.model_copy(update={"prompts": CONFIG.prompts[:1], "batch_size": 1})
    many = one.model_copy(update={"batch_size": 5})
    scores = [
        [line["score"] for line in lines_of(sample(model, tmp_path / str(i), config, "f"))]
        for i, config in enumerate((one, many))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3), "fp16 vectors of 8-bit pictures"


def test_a_prompt_with_no_safe_picture_still_gets_its_sheet(model: Path, tmp_path: Path) -> None:
    log = sample(model, tmp_path, CONFIG, "f", judges={"strict": lambda p: np.ones(len(p))})
    assert not any(line["kept"] for line in lines_of(log))
    assert (tmp_path / "grid.png").is_file()


def test_stable_diffusion_samples_too(stable_diffusion: Path, tmp_path: Path) -> None:
    log = sample(stable_diffusion, tmp_path, CONFIG, "f")
    assert sum(line["kept"] for line in lines_of(log)) == 6


def test_candidates_are_ranked_by_score_and_then_by_seed() -> None:
    blank = np.zeros((2, 2, 3), np.uint8)
    candidates = [Candidate(blank, seed, score) for seed, score in [(3, 0.5), (1, 0.5), (2, 0.9)]]
    best = rank_candidates(candidates, keep=2)
    assert [c.seed for c in best] == [2, 1]
    assert [(c.seed, c.rank, c.kept) for c in candidates] == [
        (3, 3, False),
        (1, 2, True),
        (2, 1, True),
    ]


def test_a_threshold_for_an_unknown_judge_is_refused() -> None:
    candidate = Candidate(np.zeros((2, 2, 3), np.uint8), 0)
    with pytest.raises(InputError, match="names 'nudty'; the judges here are nudity"):
        judge_candidates([candidate], {"nudity": lambda p: np.zeros(1)}, {"nudty": 0.2}, 0.5)


@pytest.mark.parametrize("answer", [[0.1, 0.2], [float("nan")], [[0.1]]])
def test_a_judge_must_give_one_finite_number_per_picture(answer: list) -> None:
    candidate = Candidate(np.zeros((2, 2, 3), np.uint8), 0)
    with pytest.raises(ValueError, match="judge odd gave"):
        judge_candidates([candidate], {"odd": lambda p: np.array(answer)}, {}, 0.5)


def test_file_names_are_plain_words() -> None:
    assert slug("A Cat, made of: Käse/../x") == "a-cat-made-of-k-se-x"
    assert slug("???") == "prompt"
