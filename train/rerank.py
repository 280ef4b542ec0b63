"""Scores candidates by how well they show their prompt, and by image safety models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.models.clip import Clip
from pipeline.words.errors import InputError

Judge = Callable[[np.ndarray], np.ndarray]
"""Pictures uint8 RGB (N, H, W, 3) to probabilities of being unsafe, float (N,)."""


@dataclass
class Candidate:
    """One drawn picture, uint8 RGB (H, W, 3), and what is known of it. Rank 1 is the best."""

    picture: np.ndarray
    seed: int
    score: float = 0.0
    verdicts: dict[str, float] = field(default_factory=dict)
    unsafe: tuple[str, ...] = ()
    rank: int | None = None
    kept: bool = False


def clip_scores(clip: Clip, pictures: np.ndarray, prompt: str) -> np.ndarray:
    """Cosines of pictures, uint8 (N, H, W, 3), with their prompt (CLIPScore without its factor and
    floor, arXiv:2104.08718): float32 (N,)."""
    pixels = np.stack([clip.preprocess(picture) for picture in pictures])
    images = np.asarray(clip.encode_images(pixels), np.float32)
    text = np.asarray(clip.encode_texts([prompt]), np.float32)[0]
    return images @ text


def judge_candidates(
    candidates: Sequence[Candidate],
    judges: Mapping[str, Judge],
    thresholds: Mapping[str, float],
    default: float,
) -> None:
    """Fill in `verdicts` and `unsafe` (the judges whose threshold the picture reaches).

    Raises InputError for a threshold of an unknown judge, ValueError for a judge that returns
    another number of scores than it was given pictures, or a score that is not finite.
    """
    if unknown := sorted(set(thresholds) - set(judges)):
        raise InputError(
            f"sample.judge_thresholds names {unknown[0]!r}; the judges here are "
            f"{', '.join(sorted(judges)) or 'none'}"
        )
    pictures = np.stack([candidate.picture for candidate in candidates])
    for name, judge in judges.items():
        scores = np.asarray(judge(pictures), np.float64)
        if scores.shape != (len(candidates),) or not np.isfinite(scores).all():
            raise ValueError(f"judge {name} gave {scores.shape} scores for {len(candidates)}")
        limit = thresholds.get(name, default)
        for candidate, score in zip(candidates, scores, strict=True):
            candidate.verdicts[name] = float(score)
            if score >= limit:
                candidate.unsafe += (name,)


def rank_candidates(candidates: Sequence[Candidate], keep: int) -> list[Candidate]:
    """Rank the safe ones by score (then seed), mark the best `keep`, and return those in order."""
    safe = sorted((c for c in candidates if not c.unsafe), key=lambda c: (-c.score, c.seed))
    for rank, candidate in enumerate(safe, start=1):
        candidate.rank = rank
        candidate.kept = rank <= keep
    return safe[:keep]
