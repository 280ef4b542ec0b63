"""How well a diffusion model draws the demo world, measured with `winnow-tiny`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.demo.world import HELD_OUT, PLACES, Scene, caption, random_scene
from pipeline.models.clip import load_clip
from train.demo.clip_quality import accuracy_by_captions
from train.diffusion import ddim, seeded_noise
from train.model import load
from train.sample import to_uint8

STEPS = 20
GUIDANCE = 4.0


def measure(model_dir: Path, count: int = 48, seed: int = 9) -> dict[str, Any]:
    """Share of pictures whose subject, material and place are recognised as prompted.

    One picture each of `count` seen compositions, and of all 48 scenes that are held out.
    """
    rng = np.random.default_rng(seed)
    groups = {
        "seen": [random_scene(rng) for _ in range(count)],
        "held_out": [Scene(s, m, p) for s, m in sorted(HELD_OUT) for p in PLACES],
    }
    result: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    clip = load_clip("winnow-tiny")

    def embed_texts(texts: Sequence[str]) -> np.ndarray:
        return clip.encode_texts(list(texts)).astype(np.float32)

    for name, scenes in groups.items():
        pictures = draw(model_dir, [caption(scene) for scene in scenes], seed)
        pixels = np.stack([clip.preprocess(picture) for picture in pictures])
        images = clip.encode_images(pixels).astype(np.float32)
        result[name] = accuracy_by_captions(images, scenes, embed_texts, clip.logit_scale)
    return result


def draw(model_dir: Path, captions: Sequence[str], seed: int, batch_size: int = 16) -> np.ndarray:
    """One picture per caption, uint8 RGB (N, H, W, 3); picture i starts from seed + i."""
    model = load(model_dir)
    model.unet.eval()
    empty = model.text([""])
    pictures = []
    for start in range(0, len(captions), batch_size):
        chunk = captions[start : start + batch_size]
        seeds = [seed + start + i for i in range(len(chunk))]
        with torch.no_grad():
            latents = ddim(
                model.unet,
                model.scheduler,
                seeded_noise(model.latent_shape, seeds),
                model.text(chunk),
                empty.expand(len(chunk), -1, -1),
                steps=STEPS,
                guidance_scale=GUIDANCE,
            )
            pictures.append(to_uint8(model.space.decode(latents)))
    return np.concatenate(pictures)
