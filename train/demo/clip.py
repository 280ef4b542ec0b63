"""Train `winnow-tiny`, the small image-text model of the demonstration and the tests.

    python -m train.demo.clip --out pipeline/models/data/winnow-tiny --seconds 1080

It draws its own pictures of the demo world, learns them with the contrastive loss of CLIP
(arXiv:2103.00020) with several positives per row (arXiv:2004.11362), and writes a folder in
open_clip's own `local-dir:` layout. It knows this drawn world and nothing else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pipeline.models.torchvision_shim import ensure_torchvision
from train.demo.clip_data import ANY, labels, random_caption, training_set

IMAGE_SIZE = 64
CONTEXT_LENGTH = 20
MERGES = 4000  # the full vocabulary would be larger than the model
BATCH = 128
LEARNING_RATE = 1e-3
WARMUP_STEPS = 60
PICTURES = 24_000


def contrastive_loss(logits: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    """Cross-entropy both ways; `matches` (pictures, captions) says which pairs belong together."""
    by_picture = matches / matches.sum(1, keepdim=True)
    by_caption = (matches / matches.sum(0, keepdim=True)).T
    forward = -(by_picture * logits.log_softmax(1)).sum(1).mean()
    backward = -(by_caption * logits.T.log_softmax(1)).sum(1).mean()
    return (forward + backward) / 2


def jitter(pictures: torch.Tensor) -> torch.Tensor:
    """Shift, scale and recolour a little. No mirror: every subject looks to the right."""
    n = len(pictures)
    affine = torch.zeros(n, 2, 3)
    scale = torch.empty(n).uniform_(0.82, 1.06)
    affine[:, 0, 0] = scale
    affine[:, 1, 1] = scale * torch.empty(n).uniform_(0.94, 1.06)
    affine[:, :, 2] = torch.empty(n, 2).uniform_(-0.1, 0.1)
    grid = F.affine_grid(affine, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    contrast = torch.empty(n, 1, 1, 1).uniform_(0.85, 1.15)
    return moved * contrast + torch.empty(n, 3, 1, 1).uniform_(-0.06, 0.06)


def config(vocabulary: int) -> dict[str, object]:
    """The content of open_clip_config.json."""
    return {
        "model_cfg": {
            "embed_dim": 128,
            "vision_cfg": {
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "width": 128,
                "layers": 5,
                "head_width": 32,
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "vocab_size": vocabulary,
                "width": 128,
                "heads": 4,
                "layers": 3,
            },
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"},
    }


def write_vocabulary(folder: Path) -> Path:
    """The first merges of CLIP's byte-pair encoding, as open_clip's tokenizer reads them."""
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as full:
        lines = [next(full) for _ in range(MERGES + 1)]
    path = folder / "bpe.txt.gz"
    path.write_bytes(gzip.compress("".join(lines).rstrip("\n").encode(), mtime=0))
    return path


def fit(out: Path, seconds: float, steps: int | None, seed: int, threads: int) -> None:
    """Train until `seconds` or `steps` have passed, and write the folder `out`."""
    ensure_torchvision()
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    from pipeline.models.clip_text import pooled_texts

    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = SimpleTokenizer(str(write_vocabulary(out)), context_length=CONTEXT_LENGTH)
    settings = config(tokenizer.vocab_size)
    model = open_clip.CLIP(**settings["model_cfg"])  # type: ignore[arg-type]
    report(f"parameters {sum(p.numel() for p in model.parameters()):,}")

    begun = time.monotonic()
    pixels, scenes = training_set(PICTURES, IMAGE_SIZE, seed, processes=threads)
    pictures = torch.from_numpy(pixels)
    picture_labels = torch.tensor([labels(scene) for scene in scenes])
    report(f"drew {len(pixels)} pictures in {time.monotonic() - begun:.0f} s")

    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=(0.9, 0.98),
    )
    begun = said = time.monotonic()
    step = 0
    while True:
        elapsed = time.monotonic() - begun
        progress = step / steps if steps else elapsed / seconds
        if progress >= 1:
            break
        decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP_STEPS) * decay

        chosen = torch.from_numpy(rng.integers(len(pictures), size=BATCH))
        captions = [random_caption(scenes[i], rng) for i in chosen.tolist()]
        said_labels = torch.tensor([label for _, label in captions])
        tokens = tokenizer([text for text, _ in captions])
        batch = pictures[chosen].permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        image_vectors = F.normalize(model.encode_image(jitter(batch)), dim=-1)
        text_vectors = F.normalize(pooled_texts(model, tokens), dim=-1)
        logits = model.logit_scale.exp() * image_vectors @ text_vectors.T
        agree = (said_labels == ANY) | (said_labels == picture_labels[chosen][:, None])
        loss = contrastive_loss(logits, agree.all(-1).float())

        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.logit_scale.data.clamp_(max=math.log(100))
        step += 1
        if time.monotonic() - said > 20:
            said = time.monotonic()
            pace, scale = elapsed / step * 1e3, model.logit_scale.exp().item()
            report(
                f"{elapsed:5.0f} s  step {step}  {pace:.0f} ms/step  "
                f"loss {loss.item():.3f}  scale {scale:.0f}"
            )
    save(out, model, settings)
    spent = time.monotonic() - begun
    facts = {"seed": seed, "steps": step, "seconds": round(spent), "pictures": PICTURES,
             "batch": BATCH, "learning_rate": LEARNING_RATE, "threads": threads}  # fmt: skip
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


def save(out: Path, model: torch.nn.Module, settings: dict[str, object]) -> None:
    """Write half-precision safetensors, and the config that open_clip reads."""
    from safetensors.torch import save_file

    state = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors")
    (out / "open_clip_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def evaluate(out: Path, count: int) -> dict[str, object]:
    """Measure the written model with the normal loader, and write the figures into its folder."""
    from pipeline.models.clip import load_clip
    from train.demo.clip_quality import measure

    clip = load_clip(str(out))

    def embed_images(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = np.stack([clip.preprocess(picture) for picture in pixels])
        return clip.encode_images(inputs).astype(np.float32)

    def embed_texts(texts: Sequence[str]) -> NDArray[np.float32]:
        return clip.encode_texts(texts).astype(np.float32)

    figures = measure(embed_images, embed_texts, clip.logit_scale, count)
    path = out / "training.json"
    facts = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**facts, "figures": figures}, indent=1) + "\n")
    return figures


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the small image-text model.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seconds", type=float, default=1080, help="how long to train")
    parser.add_argument("--steps", type=int, help="train so many steps instead (repeatable)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", type=int, default=1000, help="pictures to measure on")
    parser.add_argument("--measure-only", action="store_true", help="measure an existing folder")
    args = parser.parse_args(arguments)
    if not args.measure_only:
        fit(args.out, args.seconds, args.steps, args.seed, args.threads)
    print(json.dumps(evaluate(args.out, args.count), indent=1))


if __name__ == "__main__":
    main()
