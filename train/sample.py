"""Draws many pictures with a trained model, judges them, and shows the best of each prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config.training import SampleConfig
from pipeline.models.clip import check_clip, load_clip
from train.checkpoint import write_atomically
from train.diffusion import ddim, seeded_noise
from train.model import Diffusion, load
from train.rerank import Candidate, Judge, clip_scores, judge_candidates, rank_candidates
from train.sheet import draw_sheet

Progress = Callable[[int, int, dict[str, float]], None]
"""Called as progress(denoising steps done, all, {"pictures"})."""


def sample(
    model_dir: str | Path,
    out: Path,
    config: SampleConfig,
    export_fingerprint: str,
    progress: Progress = lambda *_: None,
    judges: Mapping[str, Judge] | None = None,
) -> Path:
    """Draw, judge and rank; write `grid.png`, `grid-<prompt>.png`, … and `samples.jsonl` in `out`.

    `grid.png` is the first prompt's. The log has one line per picture, shown or not; its path is
    returned. Sheets of an earlier call are removed. Raises InputError when a model is missing or
    a threshold names no judge.
    """
    judges = judges or {}
    check_clip(config.rerank_model, config.rerank_pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load(model_dir).to(device)
    clip = load_clip(config.rerank_model, config.rerank_pretrained, device, "fp32")
    about = {"model": model.digest, "export": export_fingerprint, "rerank": clip.digest}
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("grid*.png"):
        old.unlink()

    lines = []
    for number, prompt in enumerate(config.prompts):
        candidates = draw_candidates(model, prompt, config, device, number, progress)
        pictures = np.stack([candidate.picture for candidate in candidates])
        for candidate, score in zip(candidates, clip_scores(clip, pictures, prompt), strict=True):
            candidate.score = float(score)
        judge_candidates(candidates, judges, config.judge_thresholds, config.unsafe_threshold)
        best = rank_candidates(candidates, config.keep)
        name = "grid.png" if number == 0 else f"grid-{number + 1}-{slug(prompt)}.png"
        source = f"model {model.digest[:12]}   export {export_fingerprint[:12]}   best of"
        draw_sheet(out / name, prompt, f"{source} {len(candidates)}, by {clip.name}", best)
        lines += [{"prompt": prompt, **report(candidate), **about} for candidate in candidates]
    log = out / "samples.jsonl"
    write_atomically(log, "".join(json.dumps(line) + "\n" for line in lines))
    return log


def draw_candidates(
    model: Diffusion,
    prompt: str,
    config: SampleConfig,
    device: str,
    number: int,
    progress: Progress,
) -> list[Candidate]:
    """The candidates of one prompt, in the order of their seeds."""
    model.unet.eval()
    states = model.text([prompt, config.negative_prompt]).to(device)
    seeds = [config.seed + i for i in range(config.candidates)]
    total = config.num_inference_steps * config.candidates * len(config.prompts)
    done = config.num_inference_steps * config.candidates * number
    candidates: list[Candidate] = []

    def stepped() -> None:
        nonlocal done
        done += len(chunk)
        progress(done, total, {"pictures": len(candidates)})

    for start in range(0, len(seeds), config.batch_size):
        chunk = seeds[start : start + config.batch_size]
        latents = ddim(
            model.unet,
            model.scheduler,
            seeded_noise(model.latent_shape, chunk).to(device),
            states[:1].expand(len(chunk), -1, -1),
            states[1:].expand(len(chunk), -1, -1),
            steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            guidance_rescale=config.guidance_rescale,
            on_step=stepped,
        )
        pictures = to_uint8(model.space.decode(latents))
        candidates.extend(Candidate(p, seed) for p, seed in zip(pictures, chunk, strict=True))
    return candidates


def to_uint8(pictures: torch.Tensor) -> np.ndarray:
    """Float (N, 3, H, W) in [-1, 1] to uint8 RGB (N, H, W, 3)."""
    scaled = (pictures.float().permute(0, 2, 3, 1) + 1) * 127.5
    return scaled.round().clamp(0, 255).byte().cpu().numpy()


def report(candidate: Candidate) -> dict[str, Any]:
    """A candidate's line in `samples.jsonl`."""
    return {
        "seed": candidate.seed,
        "score": round(candidate.score, 6),
        "verdicts": {name: round(score, 6) for name, score in candidate.verdicts.items()},
        "unsafe": list(candidate.unsafe),
        "kept": candidate.kept,
        "rank": candidate.rank,
    }


def slug(prompt: str) -> str:
    """A prompt as a file name: lower-case words joined by hyphens, 60 characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "prompt"
