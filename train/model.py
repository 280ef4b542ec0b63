"""A text-to-image model in memory, and its loading from and saving to a folder.

Two kinds of folder are read: winnow's own (a pixel-space UNet bound to a CLIP by its digest) and
any diffusers Stable Diffusion folder or hub name. What is trained is saved as the same kind.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.words.errors import InputError
from train.diffusion import Prediction, small_scheduler
from train.folder import OWN_CLASS, digest, read_index, resolve
from train.libraries import diffusers
from train.space import LatentSpace, PixelSpace, Space
from train.text import ClipText, HuggingFaceText, TextEncoder


@dataclass
class Diffusion:
    """A model to train or to sample. `name` and `digest` say what it was loaded from."""

    unet: Any
    space: Space
    text: TextEncoder
    scheduler: Any
    name: str
    digest: str
    folder: Path | None = None

    @property
    def prediction_type(self) -> Prediction:
        return self.scheduler.config.prediction_type

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents that the UNet was made for."""
        side = int(self.unet.config.sample_size)
        return (int(self.unet.config.in_channels), side, side)

    def to(self, device: str) -> Diffusion:
        self.unet.to(device)
        if isinstance(self.space, LatentSpace):
            self.space.vae.to(device)
        self.text = self.text.to(device)
        return self


def from_scratch(
    resolution: int,
    pictures: torch.Tensor,
    text: ClipText,
    *,
    prediction_type: Prediction = "sample",
    seed: int = 0,
) -> Diffusion:
    """The small untrained model: 4.0 M parameters at a text width of 128, pixel space.

    `pictures`, float (N, 3, H, W) in [-1, 1], are what the space is normalised for.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = diffusers().UNet2DConditionModel(
            sample_size=resolution // PixelSpace.factor,
            in_channels=PixelSpace.channels,
            out_channels=PixelSpace.channels,
            block_out_channels=(64, 128),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=text.width,
            attention_head_dim=4,  # diffusers reads this as the number of heads
            norm_num_groups=16,
        )
    space = PixelSpace.measured(pictures)
    return Diffusion(unet, space, text, small_scheduler(prediction_type), "scratch", text.digest)


def load(name: str | Path) -> Diffusion:
    """A model by packaged name, folder or hub name, in fp32 on the CPU.

    Raises InputError when a file is missing, or when the CLIP that the model was trained with is
    not the one installed here now.
    """
    folder = resolve(name)
    index = read_index(folder)
    library = diffusers()
    unet = library.UNet2DConditionModel.from_pretrained(
        folder / "unet", use_safetensors=True, low_cpu_mem_usage=False
    )
    # DDIM steps any DDPM-family noise schedule. Schedulers without the `clip_sample` setting would
    # get its default, which cuts latents to [-1, 1].
    scheduler = library.DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False)
    space: Space
    text: TextEncoder
    if index["_class_name"] == OWN_CLASS:
        space = PixelSpace.from_json(index["space"])
        text = _bound_text(folder, index["text_encoder"])
    else:
        vae = library.AutoencoderKL.from_pretrained(
            folder / "vae", use_safetensors=True, low_cpu_mem_usage=False
        )
        space, text = LatentSpace(vae.float()), HuggingFaceText(folder)
    return Diffusion(unet.float(), space, text, scheduler, str(name), digest(folder), folder)


def _bound_text(folder: Path, wanted: dict[str, Any]) -> ClipText:
    text = ClipText(wanted["model"], wanted["pretrained"])
    if text.digest != wanted["digest"]:
        raise InputError(
            f"{folder} was trained with {wanted['model']} {wanted['digest'][:12]}, but the one "
            f"installed is {text.digest[:12]}; train the model again, or install that one"
        )
    return text


def save(model: Diffusion, weights: dict[str, torch.Tensor], folder: Path, notes: Any) -> None:
    """Write the model with the UNet weights given, in fp16 safetensors, into a new folder.

    `notes` (JSON) goes into `training.json`: what the model was trained from, on and how.
    """
    # diffusers notes the folder it loaded from; the same weights must give the same files anywhere.
    config = {k: v for k, v in model.unet.config.items() if k != "_name_or_path"}
    unet = type(model.unet).from_config(config)
    unet.load_state_dict(weights)
    unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    model.scheduler.save_pretrained(folder / "scheduler")
    if isinstance(model.space, PixelSpace) and isinstance(model.text, ClipText):
        index: dict[str, Any] = {
            "_class_name": OWN_CLASS,
            "space": model.space.to_json(),
            "text_encoder": model.text.to_json(),
        }
    else:
        if model.folder is None:
            raise ValueError("a latent-space model is saved with the parts of its base folder")
        for part in ("vae", "text_encoder", "tokenizer"):
            shutil.copytree(model.folder / part, folder / part)
        index = read_index(model.folder)
        # These parts are not copied; null tells the pipeline to do without them.
        for part in ("safety_checker", "feature_extractor", "image_encoder"):
            if part in index:
                index[part] = [None, None]
        index["scheduler"] = ["diffusers", type(model.scheduler).__name__]
        index["requires_safety_checker"] = False
    (folder / "training.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
