"""The `train:` and `sample:` sections of a job. Flag names follow diffusers' training scripts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Section, tuning


class TrainConfig(Section):
    """Fine-tune a text-to-image model on the job's export."""

    pretrained_model_name_or_path: str | None = Field(
        "winnow-base",
        min_length=1,
        description="Base model: a diffusers Stable Diffusion folder or hub name, a folder that "
        "winnow trained, or the packaged `winnow-base` (64 px, for the demo and tests only). "
        "Null trains the small pixel-space UNet from scratch.",
    )
    text_encoder: str | None = Field(
        None,
        min_length=1,
        description="From scratch only: the CLIP whose text tower conditions the model "
        "(`winnow-tiny`, an open_clip name or a local folder). Null means `winnow-tiny` from "
        "scratch, and the base model's own encoder otherwise.",
    )
    text_encoder_pretrained: str | None = Field(
        None,
        min_length=1,
        description="Weights of `text_encoder`: an open_clip tag or a local file.",
    )
    resolution: int | None = Field(
        None,
        ge=16,
        multiple_of=8,
        description="Side of the square training pictures, in pixels: the shorter side is resized "
        "to it, then the centre is cut out. Null takes the base model's own, 64 from scratch.",
    )
    random_flip: bool = Field(
        False, description="Mirror half of the pictures. Off where captions name a side."
    )
    train_batch_size: int = Field(24, ge=1, description="Pictures per forward pass.")
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Forward passes whose gradients are averaged into one update."
    )
    max_train_steps: int = Field(200, ge=1, description="Optimizer updates.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate of AdamW. Null means 1e-3 from scratch, 4e-4 for a base "
        "that winnow trained, 1e-5 for Stable Diffusion.",
    )
    lr_scheduler: Literal["constant", "cosine"] = Field(
        "cosine",
        description="After the warm-up: hold the rate, or let it fall to 2 % along a half cosine.",
    )
    lr_warmup_steps: int = Field(10, ge=0, description="Updates over which the rate rises from 0.")
    lr_flat_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of the run that holds the peak before `cosine` falls."
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's first-moment decay.")
    adam_beta2: float = Field(0.99, ge=0, lt=1, description="AdamW's second-moment decay.")
    adam_weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay.")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW's denominator floor.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    use_ema: bool = Field(True, description="Save the exponential moving average of the weights.")
    ema_decay: float = Field(
        0.9999,
        gt=0,
        lt=1,
        description="Decay of the average, approached as (1 + n) / (10 + n), so that short runs "
        "average over their last part alone.",
    )
    snr_gamma: float | None = Field(
        5.0,
        gt=0,
        description="Min-SNR weighting (arXiv:2303.09556); null weighs all noise levels alike "
        "in the loss of the predicted quantity.",
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample"] | None = Field(
        None,
        description="What the UNet predicts. Null keeps the base model's own; from scratch that is "
        "`sample`, which learns fastest at this size.",
    )
    proportion_empty_prompts: float = Field(
        0.12,
        ge=0,
        le=1,
        description="Share of captions replaced by the empty one, so that guidance has an "
        "unconditional model (arXiv:2207.12598).",
    )
    mixed_precision: Literal["no", "bf16"] = Field(
        "no", description="`bf16` computes the UNet under autocast; master weights stay fp32."
    )
    checkpointing_steps: int = tuning(100, "Updates between checkpoints.", ge=1)
    checkpoints_total_limit: int = tuning(2, "Checkpoints kept, newest first.", ge=1)
    resume: Literal["auto", "never"] = tuning(
        "auto",
        "`auto` continues from the newest whole checkpoint of the same settings and data; "
        "`never` starts again.",
    )
    dataloader_threads: int = tuning(2, "Threads that decode pictures.", ge=1)
    cache_mib: int = Field(
        512,
        ge=0,
        description="Decoded pictures stay in memory when they need less than this, in MiB; beyond "
        "it they are streamed and shuffled shard by shard.",
    )
    log_steps: int = tuning(10, "Updates between lines of `log.jsonl`.", ge=1)
    seed: int = Field(0, ge=0, description="Seeds the data order, the noise and the caption drop.")

    @model_validator(mode="after")
    def _text_encoder_needs_scratch(self) -> TrainConfig:
        if self.text_encoder and self.pretrained_model_name_or_path is not None:
            raise ValueError(
                "text_encoder only applies from scratch: a pretrained UNet is bound to the encoder "
                "that it was trained with; remove text_encoder or set "
                "pretrained_model_name_or_path to null"
            )
        if self.text_encoder_pretrained and not self.text_encoder:
            raise ValueError("text_encoder_pretrained needs text_encoder")
        return self


class SampleConfig(Section):
    """Draw candidates for each prompt, score them with CLIP, drop the unsafe, show the best."""

    prompts: tuple[str, ...] = Field(
        ("a kangaroo made of cheese on a hill",), min_length=1, description="What to draw."
    )
    negative_prompt: str = Field(
        "", description="The caption that guidance leads away from; empty is unconditional."
    )
    candidates: int = Field(36, ge=1, description="Pictures drawn per prompt.")
    keep: int = Field(9, ge=1, description="Best pictures of each prompt that go on its sheet.")
    num_inference_steps: int = Field(24, ge=1, le=1000, description="DDIM steps per picture.")
    guidance_scale: float = Field(
        3.0, ge=1, description="Classifier-free guidance (arXiv:2207.12598); 1 is none."
    )
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Pulls guided predictions back to the conditional one's standard deviation "
        "(arXiv:2305.08891, section 3.4).",
    )
    batch_size: int = tuning(12, "Pictures drawn at once.", ge=1)
    seed: int = Field(0, ge=0, description="Candidate i starts from the noise of seed + i.")
    rerank_model: str = Field(
        "winnow-tiny",
        min_length=1,
        description="CLIP that scores pictures against their prompt: `winnow-tiny`, an open_clip "
        "name or a local folder.",
    )
    rerank_pretrained: str | None = Field(
        None,
        min_length=1,
        description="Weights of `rerank_model`: an open_clip tag or a local file.",
    )
    unsafe_threshold: float = Field(
        0.5, ge=0, le=1, description="A picture scored at or above it by any judge is not shown."
    )
    judge_thresholds: dict[str, float] = Field(
        {}, description="Thresholds of single judges, by name, instead of `unsafe_threshold`."
    )

    @model_validator(mode="after")
    def _keep_within_candidates(self) -> SampleConfig:
        if self.keep > self.candidates:
            raise ValueError(f"keep ({self.keep}) is more than candidates ({self.candidates})")
        if any(not p.strip() for p in self.prompts):
            raise ValueError("prompts must not be blank")
        return self
