"""The base model of a training, and the fingerprint of base model, data and settings."""

from __future__ import annotations

import hashlib
import json
from itertools import islice

import numpy as np
import torch

from pipeline.config.training import TrainConfig
from train.data import Export, decoded, read_shards
from train.folder import OWN_CLASS, read_index, read_json, resolve
from train.model import Diffusion, from_scratch, load
from train.space import PixelSpace
from train.text import ClipText

TRAIN_VERSION = 1
MEASURED_PICTURES = 1024
NAMES = ("pretrained_model_name_or_path", "text_encoder", "text_encoder_pretrained")


def resolution_and_rate(config: TrainConfig) -> tuple[int, float]:
    """The side of the training pictures and the peak learning rate: the base model's own where the
    settings say null."""
    name = config.pretrained_model_name_or_path
    if name is None:
        side, rate = 64, 1e-3
    else:
        folder = resolve(name)
        factor, rate = PixelSpace.factor, 4e-4
        if read_index(folder)["_class_name"] != OWN_CLASS:
            vae = read_json(folder / "vae/config.json")
            factor, rate = 2 ** (len(vae["block_out_channels"]) - 1), 1e-5
        side = int(read_json(folder / "unet/config.json")["sample_size"]) * factor
    return config.resolution or side, config.learning_rate or rate


def fingerprint(config: TrainConfig, export: Export, base: str) -> str:
    """sha256 over all that determines the weights: recipe, data and base.

    Models are covered by their content, not by their names or paths.
    """
    return fingerprint_of(config, export.fingerprint, base)


def fingerprint_of(config: TrainConfig, export: str, base: str) -> str:
    """`fingerprint`, of an export with this fingerprint."""
    recipe = {name: value for name, value in config.recipe().items() if name not in NAMES}
    made_of = [TRAIN_VERSION, recipe, export, base]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def trajectory_fingerprint(config: TrainConfig, export: Export, base: str) -> str:
    """sha256 over what determines the weights after each step; names the checkpoints' folder.

    At a constant rate the number of steps is left out of it, because it changes no earlier step:
    a longer training continues from the checkpoints of a shorter one.
    """
    if config.lr_scheduler == "constant":
        config = config.model_copy(update={"max_train_steps": 1, "lr_flat_fraction": 0.0})
    return fingerprint(config, export, base)


def base_model(config: TrainConfig, export: Export, resolution: int) -> Diffusion:
    """The model to train, with the prediction type that the settings ask for."""
    if config.pretrained_model_name_or_path is None:
        text = ClipText(config.text_encoder or "winnow-tiny", config.text_encoder_pretrained)
        return from_scratch(
            resolution,
            measured_pictures(export, resolution, config.dataloader_threads),
            text,
            prediction_type=config.prediction_type or "sample",
            seed=config.seed,
        )
    model = load(config.pretrained_model_name_or_path)
    if config.prediction_type:
        model.scheduler.register_to_config(prediction_type=config.prediction_type)
    return model


def measured_pictures(export: Export, resolution: int, threads: int) -> torch.Tensor:
    """The first pictures of the export, float (N, 3, H, W) in [-1, 1]."""
    first = islice(read_shards(export.shards), MEASURED_PICTURES)
    rows = [picture for picture, _ in decoded(first, resolution, threads)]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
