"""Makes `winnow-base`, the small diffusion model of the demo, from drawings.

    python -m train.demo.base --out train/data/winnow-base --seed 0

Draws pictures of the demo world (no held-out composition), writes them as an export and hands
them to the same `fit` that everyone uses. Interrupted, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.config.training import TrainConfig
from pipeline.demo.world import N_TEMPLATES, caption, draw_many
from train.checkpoint import replace_folder, write_atomically
from train.demo.base_quality import measure
from train.fit import fit

ROWS_PER_SHARD = 5000


def scratch_config(steps: int, seed: int) -> TrainConfig:
    """From scratch at a constant rate: can be stopped and continued at any step."""
    return TrainConfig(
        pretrained_model_name_or_path=None,
        text_encoder="winnow-tiny",
        resolution=64,
        train_batch_size=24,
        max_train_steps=steps,
        learning_rate=1e-3,
        lr_scheduler="constant",
        lr_warmup_steps=50,
        ema_decay=0.998,
        checkpointing_steps=250,
        log_steps=50,
        seed=seed,
    )


def cooldown_config(scratch: Path, steps: int, seed: int) -> TrainConfig:
    """From the first phase's average, at a rate that falls to zero, which sharpens the pictures."""
    return TrainConfig(
        pretrained_model_name_or_path=str(scratch),
        resolution=64,
        train_batch_size=24,
        max_train_steps=steps,
        learning_rate=8e-4,
        lr_scheduler="cosine",
        lr_warmup_steps=50,
        ema_decay=0.995,
        checkpointing_steps=250,
        log_steps=50,
        seed=seed + 1,
    )


def write_drawn_export(
    folder: Path, rows: int, seed: int, processes: int, rows_per_shard: int = ROWS_PER_SHARD
) -> Path:
    """An export of drawn pictures: WebDataset tars of PNGs with captions, and a manifest.

    Written once; a finished one with the same rows and seed is left as it is.
    """
    import cv2
    import webdataset as wds

    fingerprint = hashlib.sha256(f"drawn world\0{rows}\0{seed}".encode()).hexdigest()
    manifest = folder / "manifest.json"
    if manifest.is_file() and json.loads(manifest.read_text())["fingerprint"] == fingerprint:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    pictures, scenes = draw_many(rows, seed, held_out=False, size=64, processes=processes)
    rng = np.random.default_rng([seed, 1])
    shards = []
    for shard, start in enumerate(range(0, rows, rows_per_shard)):
        end = min(rows, start + rows_per_shard)
        name = f"{shard:05d}.tar"
        buffer = io.BytesIO()
        with wds.TarWriter(buffer) as tar:
            for i in range(start, end):
                text = caption(scenes[i], int(rng.integers(N_TEMPLATES)))
                png = cv2.imencode(".png", pictures[i][:, :, ::-1])[1].tobytes()
                key = f"{shard:05d}{i - start:04d}"
                tar.write({"__key__": key, "png": png, "txt": text, "json": {"caption": text}})
        (folder / name).write_bytes(buffer.getvalue())
        shards.append({"tar": name, "rows": end - start})
    body = {"fingerprint": fingerprint, "rows": rows, "shards": shards}
    write_atomically(manifest, json.dumps(body, indent=2) + "\n")
    return folder


def publish(model: Path, out: Path, notes: dict[str, object]) -> None:
    """Measure a finished model, write the figures to its training.json, and move it into place."""
    fresh = out.with_name(out.name + ".tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(model, fresh)
    path = fresh / "training.json"
    said = {**json.loads(path.read_text()), **notes, "judged": measure(fresh)}
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(said["judged"]), file=sys.stderr)
    replace_folder(fresh, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--work", type=Path, help="scratch folder (default: OUT.work)")
    parser.add_argument("--rows", type=int, default=20_000, help="pictures to draw")
    parser.add_argument("--steps", type=int, default=6_000, help="updates at the constant rate")
    parser.add_argument("--cooldown", type=int, default=3_000, help="updates at the falling rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="that draw")
    args = parser.parse_args()
    work = args.work or args.out.with_name(args.out.name + ".work")
    began = time.monotonic()

    def progress(step: int, total: int, figures: dict[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"{step}/{total}  {time.monotonic() - began:.0f} s  {shown}", file=sys.stderr)

    export = write_drawn_export(work / "export", args.rows, args.seed, args.processes)
    scratch = fit(export, work / "scratch", scratch_config(args.steps, args.seed), progress)
    print("second phase: the rate falls", file=sys.stderr)
    settled = cooldown_config(scratch, args.cooldown, args.seed)
    model = fit(export, work / "cooldown", settled, progress)
    phases = [{"steps": args.steps}, {"steps": args.cooldown}]
    publish(model, args.out, {"rows": args.rows, "seed": args.seed, "phases": phases})


if __name__ == "__main__":
    main()
