"""A Stable Diffusion of random weights, small enough to train in a test."""

import json
from pathlib import Path

import torch

from train.libraries import diffusers, transformers


def write_stable_diffusion(folder: Path) -> Path:
    """A Stable Diffusion folder of a few hundred kilobytes, as diffusers itself writes it."""
    library, tf = diffusers(), transformers()
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    words += [letter + "</w>" for letter in words[2:]]
    vocabulary = {word: i for i, word in enumerate(words)}
    text_files = folder.parent / "words"
    text_files.mkdir(exist_ok=True)
    (text_files / "vocab.json").write_text(json.dumps(vocabulary))
    (text_files / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = tf.CLIPTokenizer(
        str(text_files / "vocab.json"), str(text_files / "merges.txt"), model_max_length=16
    )
    torch.manual_seed(0)
    unet = library.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = library.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    text = tf.CLIPTextModel(
        tf.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    library.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=library.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
