"""The training loop: an export and a base model in, a model folder out."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from pipeline.config.training import TrainConfig
from pipeline.words.errors import InputError
from pipeline.words.heartbeat import beat
from train.checkpoint import keep_log, newest_checkpoint, save_checkpoint
from train.data import Batch, batches, open_export
from train.diffusion import add_noise, loss_weights, stratified_timesteps, target, weighted_loss
from train.folder import base_digest
from train.healing import LOG
from train.model import Diffusion
from train.origin import (
    NAMES,
    base_model,
    fingerprint,
    resolution_and_rate,
    trajectory_fingerprint,
)
from train.outcome import commit, finished_model
from train.text import remembered

Progress = Callable[[int, int, dict[str, float]], None]
"""Called as progress(step, max_train_steps, {"loss", "lr", "img_per_s"}) after every log line."""


def fit(
    export: Path,
    out: Path,
    config: TrainConfig,
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Path:
    """Train on an export and return `out/model`; also writes `out/done.json` and `out/log.jsonl`.

    If it is killed and called again, it continues from its newest whole checkpoint and ends with
    the same weights (on one machine, CPU); `say` gets a line for each that is damaged. Called again
    when done, it does no work.
    Raises InputError before any work for a wrong base or export, and when the loss diverges.
    """
    data = open_export(export)
    base = base_digest(config)
    resolution, peak = resolution_and_rate(config)
    mark = fingerprint(config, data, base)
    if finished := finished_model(out, mark):
        return finished

    out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = base_model(config, data, resolution).to(device)
    net = model.unet.train()
    optimizer = torch.optim.AdamW(
        net.parameters(),
        lr=peak,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.adam_weight_decay,
    )
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}

    trajectory = trajectory_fingerprint(config, data, base)
    checkpoints = out / "checkpoints" / trajectory[:12]
    if config.resume == "never":
        shutil.rmtree(checkpoints, ignore_errors=True)
    start = 0
    damaged: list[str] = []
    if state := newest_checkpoint(checkpoints, config.max_train_steps, damaged.append):
        start = state["step"]
        net.load_state_dict(state["unet"])
        optimizer.load_state_dict(state["optimizer"])
        average = {name: value.to(device) for name, value in state["average"].items()}
    for line in damaged:
        say(f"train: {line}; training goes on from step {start}")
    keep_log(out / LOG, trajectory, start)

    passes = config.gradient_accumulation_steps
    stream = batches(
        data,
        resolution=resolution,
        batch_size=config.train_batch_size,
        seed=config.seed,
        skip=start * passes,
        threads=config.dataloader_threads,
        cache_mib=config.cache_mib,
    )
    encode = remembered(model.text, at_once=1 if device == "cpu" else config.train_batch_size)
    began = time.monotonic()
    losses: list[float] = []
    for step in range(start, config.max_train_steps):
        lr = peak * rate_factor(config, step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        for k in range(passes):
            generator = step_generator(config.seed, step * passes + k)
            loss = batch_loss(model, encode, next(stream), config, generator, device)
            (loss / passes).backward()
            losses.append(loss.item())
            beat()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), config.max_grad_norm)
        if not math.isfinite(losses[-1]) or not math.isfinite(norm.item()):
            raise InputError(
                f"the loss diverged at step {step + 1} (loss {losses[-1]}, gradient norm {norm}); "
                f"lower train.learning_rate ({peak:g}) or raise "
                f"train.lr_warmup_steps ({config.lr_warmup_steps})"
            )
        optimizer.step()
        update_average(average, net.state_dict(), ema_decay(config, step))

        done = step + 1
        if done % config.log_steps == 0 or done == config.max_train_steps:
            pictures = len(losses) * config.train_batch_size
            figures = {
                "loss": round(float(np.mean(losses)), 6),
                "lr": lr,
                "img_per_s": round(pictures / (time.monotonic() - began), 2),
            }
            line = json.dumps({"step": done, **figures, "trajectory": trajectory})
            with (out / LOG).open("a", encoding="utf-8") as log:
                log.write(line + "\n")
            progress(done, config.max_train_steps, figures)
            losses, began = [], time.monotonic()
        if done % config.checkpointing_steps == 0 and done < config.max_train_steps:
            state = {
                "unet": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average,
            }
            save_checkpoint(checkpoints, done, state, config.checkpoints_total_limit)

    weights = average if config.use_ema else net.state_dict()
    notes = {
        "base": Path(model.name).name if model.folder else model.name,
        "base_digest": base,
        "export_fingerprint": data.fingerprint,
        "rows": data.rows,
        "resolution": resolution,
        "learning_rate": peak,
        "config": {k: v for k, v in config.settings().items() if k not in NAMES},
    }
    return commit(model, weights, out, mark, notes)


def batch_loss(
    model: Diffusion,
    encode: Callable[[list[str]], torch.Tensor],
    batch: Batch,
    config: TrainConfig,
    generator: torch.Generator,
    device: str,
) -> torch.Tensor:
    """The weighted denoising error of one batch. All randomness is drawn from `generator`."""
    n = len(batch.captions)
    pictures = torch.from_numpy(batch.pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    if config.random_flip:
        mirrored = torch.rand(n, generator=generator) < 0.5
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
    dropped = torch.rand(n, generator=generator) < config.proportion_empty_prompts
    captions = ["" if drop else text for text, drop in zip(batch.captions, dropped, strict=True)]

    latents = model.space.encode(pictures.to(device), generator)
    alphas = model.scheduler.alphas_cumprod
    timesteps = stratified_timesteps(n, len(alphas), generator)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = add_noise(latents, noise, timesteps, alphas)
    kind = model.prediction_type
    bf16 = config.mixed_precision == "bf16"
    with torch.autocast(device, torch.bfloat16) if bf16 else nullcontext():
        output = model.unet(noisy, timesteps.to(device), encode(captions).to(latents)).sample
    wanted = target(kind, latents, noise, timesteps, alphas)
    return weighted_loss(output, wanted, loss_weights(kind, timesteps, alphas, config.snr_gamma))


def step_generator(seed: int, number: int) -> torch.Generator:
    """The random numbers of one batch: a function of the seed and its number, so that a resumed
    run needs no stored generator state."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


def rate_factor(config: TrainConfig, step: int) -> float:
    """The share of the peak rate after `step` updates: warm-up, flat, then constant or falling."""
    warm = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    share = step / config.max_train_steps
    if config.lr_scheduler == "constant" or share < config.lr_flat_fraction:
        return warm
    fall = (share - config.lr_flat_fraction) / (1 - config.lr_flat_fraction)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def ema_decay(config: TrainConfig, step: int) -> float:
    """The decay of the average after `step` updates: low at first, to forget initial weights."""
    return min(config.ema_decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(
    average: dict[str, torch.Tensor], weights: dict[str, torch.Tensor], decay: float
) -> None:
    torch._foreach_lerp_(list(average.values()), [weights[name] for name in average], 1 - decay)
