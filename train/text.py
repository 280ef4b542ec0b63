"""Captions to the token states that condition a UNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.models.clip import load_clip
from train.libraries import transformers


class TextEncoder(Protocol):
    """A frozen encoder: captions to float32 states (N, T, W), always the full context length."""

    width: int

    def __call__(self, texts: Sequence[str]) -> torch.Tensor: ...

    def to(self, device: str) -> TextEncoder: ...


class ClipText:
    """The text tower of an open_clip model, at the state after its last layer norm."""

    def __init__(self, model: str, pretrained: str | None = None, device: str = "cpu") -> None:
        self.model, self.pretrained = model, pretrained
        self.clip = load_clip(model, pretrained, device, "fp32")
        self.width = int(self.clip.text_width)
        self.digest = self.clip.digest

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        return self.clip.text_states(list(texts))

    def to_json(self) -> dict[str, str | None]:
        return {"model": self.model, "pretrained": self.pretrained, "digest": self.digest}

    def to(self, device: str) -> ClipText:
        return ClipText(self.model, self.pretrained, device)


class HuggingFaceText:
    """The tokenizer and CLIP text model of a Stable Diffusion folder."""

    def __init__(self, folder: Path) -> None:
        tf = transformers()
        self.tokenizer = tf.CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.model: Any = tf.CLIPTextModel.from_pretrained(
            folder / "text_encoder", use_safetensors=True
        )
        self.model.float().eval().requires_grad_(False)
        self.width = int(self.model.config.hidden_size)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        length = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        return self.model(tokens.input_ids.to(self.model.device)).last_hidden_state

    def to(self, device: str) -> HuggingFaceText:
        self.model.to(device)
        return self


def remembered(
    encode: Callable[[Sequence[str]], torch.Tensor], at_once: int, limit: int = 4096
) -> Callable[[Sequence[str]], torch.Tensor]:
    """The encoder with a cache of its latest `limit` captions, which are repeated in each epoch.

    With `at_once` = 1 each caption is encoded alone. In a batch its states would depend, in their
    last bits, on the other captions of the batch, which differ in a resumed run.
    """
    kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def encode_remembered(texts: Sequence[str]) -> torch.Tensor:
        missing = [t for t in dict.fromkeys(texts) if t not in kept]
        for start in range(0, len(missing), at_once):
            chunk = missing[start : start + at_once]
            kept.update(zip(chunk, encode(chunk), strict=True))
        for text in texts:
            kept.move_to_end(text)
        states = torch.stack([kept[text] for text in texts])
        while len(kept) > limit:
            kept.popitem(last=False)
        return states

    return encode_remembered
