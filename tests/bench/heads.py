"""What heads cost beside the embedding: `python tests/bench/heads.py`, CPU time on one thread.

Embedding: ViT-B-32 with random weights (the time does not depend on them), pictures of 256×256, as
the stage `embed` does it. Heads: linear, MLP (768→64→512→256→1, the form of LAION's NSFW detector)
and zero-shot with 20 prompts, in equal parts, as the stage `heads` does it, with their loading.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from pipeline.config.job import Job
from pipeline.config.sections import EmbedConfig, Head, ImagesConfig
from pipeline.measure.pictures.heads import judge_of, scores_of
from pipeline.models.clip import Clip, load_clip
from pipeline.models.heads.registry import heads_of
from pipeline.models.nsfw import Seen, load_nsfw

ROWS = 10_000
PROMPTS = 20


def random_clip(folder: Path, name: str) -> Clip:
    """A model of this architecture with random weights, from a folder."""

    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip

    folder.mkdir()
    torch.manual_seed(0)
    network = open_clip.create_model(name, pretrained=None)
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_torch(state, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return load_clip(str(folder))


def make_heads(folder: Path, dim: int, count: int) -> tuple[Head, ...]:
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        kind = ("linear", "mlp", "zeroshot")[i % 3]
        if kind == "zeroshot":
            prompts = [f"thing number {i} {j}" for j in range(PROMPTS)]
            found.append(Head(name=f"h{i}", kind=kind, positive=prompts[:5], negative=prompts[5:]))
            continue
        widths = (dim, 1) if kind == "linear" else (dim, 64, 512, 256, 1)
        tensors = {}
        for j, (before, after) in enumerate(itertools.pairwise(widths)):
            tensors[f"layers.{j}.weight"] = rng.normal(size=(after, before)).astype(np.float32)
            tensors[f"layers.{j}.bias"] = np.zeros(after, np.float32)
        path = folder / f"{i}.safetensors"
        save_file(tensors, path)
        found.append(Head(name=f"h{i}", kind=kind, weights=str(path)))
    return tuple(found)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of the fastest of some calls."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def embedding(clip: Clip, pictures: int) -> float:
    """CPU seconds a picture: pixels and caption to vectors."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (pictures, 256, 256, 3)).astype(np.uint8)

    def work() -> None:
        clip.encode_images(np.stack([clip.preprocess(one) for one in rgb]))
        clip.encode_texts([f"a picture of number {i} on a hill" for i in range(pictures)])

    return seconds(work, 2) / pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        clip = random_clip(Path(scratch) / "clip", "ViT-B-32")
        whole = embedding(clip, asked.pictures)
        print(f"embedding: {1e6 * whole:,.0f} µs a picture of CPU time")
        vectors = np.random.default_rng(0).normal(size=(ROWS, clip.dim))
        stored = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        print("| heads | µs a picture | of the embedding | loading once, s |")
        print("| ---: | ---: | ---: | ---: |")
        for count in (1, 10, 100):
            folder = Path(scratch) / str(count)
            folder.mkdir()
            images = ImagesConfig(heads=make_heads(folder, clip.dim, count))
            embed = EmbedConfig(model=str(Path(scratch) / "clip"))
            heads = heads_of(Job(input="x.csv", embed=embed, images=images))
            load = seconds(lambda heads=heads: [judge_of(head, clip) for head in heads])
            judges = [(head, judge_of(head, clip)) for head in heads]
            own = (
                seconds(lambda judges=judges: scores_of(judges, stored, np.arange(ROWS)), 3) / ROWS
            )
            print(f"| {count} | {1e6 * own:.1f} | {100 * own / whole:.2f} % | {load:.2f} |")
    nsfw = load_nsfw(1)
    picture = nsfw.prepare(np.zeros((256, 256, 3), np.uint8)).pixels
    print("| open_nsfw, batch | ms a picture |\n| ---: | ---: |")
    for batch in (1, 4, 16, 64):

        def look(batch: int = batch) -> None:
            for _ in range(0, 64, batch):  # new objects: the network's answers stay with the old
                nsfw.score_prepared([Seen(picture) for _ in range(batch)])

        own = seconds(look, 2) / 64
        print(f"| {batch} | {1e3 * own:.1f} |")


if __name__ == "__main__":
    main()
