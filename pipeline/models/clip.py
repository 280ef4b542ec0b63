"""CLIP models through open_clip: pictures and captions to vectors of one space.

`winnow-tiny` is packaged; any other open_clip model comes from a local file or folder, or from
the hub. Learning Transferable Visual Models From Natural Language Supervision, arXiv:2103.00020.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError

from pipeline.models.clip_files import check_clip, clip_digest
from pipeline.models.clip_source import BPE_NAME, TINY, find_source
from pipeline.words.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["TINY", "Clip", "check_clip", "clip_digest", "load_clip"]

PRECISIONS = ("fp32", "bf16", "fp16")
_IMAGES_AT_ONCE = 128
# Large pictures are first shrunk by whole factors: Pillow calls 3 "almost indistinguishable".
_REDUCING_GAP = 3.0
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_loading = threading.Lock()


class Clip:
    """A loaded model. Get one from `load_clip`.

    `name`: as asked for; `digest`: SHA-256 of its files (`clip_digest`); `dim`: width of the
    vectors; `image_size`: side in pixels of what the image tower sees; `context_length`: tokens a
    caption has at most; `text_width`: width of the token states; `logit_scale`: the factor that
    the model was trained to put on a cosine.
    """

    def __init__(
        self, model: Any, tokenizer: Any, name: str, digest: str, device: str, precision: str
    ) -> None:
        from open_clip import get_input_dtype, get_model_preprocess_cfg

        self.name, self.digest, self.device, self.precision = name, digest, device, precision
        self._model, self._tokenizer = model, tokenizer
        self._dtype = get_input_dtype(precision)
        settings = get_model_preprocess_cfg(model)
        self.image_size = _side(settings["size"], name)
        self._mean = np.asarray(settings["mean"], np.float32)[:, None, None]
        self._scale = 1 / np.asarray(settings["std"], np.float32)[:, None, None]
        self._resampling = _RESAMPLING[settings["interpolation"]]
        self._resize_mode = settings["resize_mode"]
        self._fill = settings["fill_color"]
        self.context_length = int(tokenizer.context_length)
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.text_width = _text_width(model)
        self.dim = int(self.encode_texts(["a"]).shape[1])

    def preprocess(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One picture (H, W, 3) RGB uint8 to the model's input (3, S, S) float32.

        Resized and cropped as open_clip does for evaluation. Safe to call from several threads.
        """
        image = self._fit(Image.fromarray(rgb))
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
        return ((pixels - self._mean) * self._scale).astype(np.float32)

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float16]:
        """Inputs (N, 3, S, S) to L2-normalised vectors (N, dim), float16."""
        import torch

        parts = [np.empty((0, self.dim), np.float16)]
        with torch.inference_mode():
            for start in range(0, len(pixels), _IMAGES_AT_ONCE):
                part = np.ascontiguousarray(pixels[start : start + _IMAGES_AT_ONCE])
                parts.append(_normalised(self._see(part)))
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> NDArray[np.float16]:
        """Captions to L2-normalised vectors (N, dim), float16, in the order given.

        Captions are cut at `context_length` tokens. Batches hold captions of like length, and are
        no longer than their longest; a caption that is there several times is encoded once.
        """
        import torch

        from pipeline.models.clip_text import used_lengths

        if not len(texts):
            return np.empty((0, self.dim), np.float16)
        different = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        tokens = self.tokens_of(list(different))
        order = used_lengths(tokens).argsort(stable=True)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                parts.append(_normalised(self._read(tokens[order[start : start + batch_size]])))
        found = np.concatenate(parts)
        vectors = np.empty_like(found)
        vectors[order.numpy()] = found
        return vectors[[different[text] for text in texts]]

    def tokens_of(self, texts: Sequence[str]) -> torch.Tensor:
        """Captions to int64 (N, context_length), padded with zeros or as the tokenizer does."""
        tokens: torch.Tensor = self._tokenizer(list(texts))
        return tokens

    def _see(self, pixels: NDArray[np.float32]) -> torch.Tensor:
        """Inputs (N, 3, S, S) to vectors (N, dim), not normalised."""
        import torch

        batch = torch.from_numpy(pixels).to(self.device, self._dtype)
        found: torch.Tensor = self._model.encode_image(batch)
        return found

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (N, context_length) to vectors (N, dim), not normalised."""
        from pipeline.models.clip_text import pooled_texts

        found: torch.Tensor = pooled_texts(self._model, tokens.to(self.device))
        return found

    def text_states(self, texts: Sequence[str]) -> torch.Tensor:
        """States of every token after the last layer norm, to condition a diffusion model on.

        float32 (N, context_length, text_width). InputError for text towers that are not
        open_clip's own causal transformer.
        """
        import torch

        from pipeline.models.clip_text import can_trim, token_states

        if not can_trim(self._model):
            raise InputError(
                f'clip model "{self.name}" has a text tower that gives no token states; '
                "take a model with a CLIP text transformer, such as ViT-B-32 or ViT-L-14"
            )
        with torch.inference_mode():
            tokens = self._tokenizer(list(texts)).to(self.device)
            states = token_states(self._model, tokens).float()
        # A copy made outside of inference mode can be used in training.
        return states.clone()

    def _fit(self, image: Image.Image) -> Image.Image:
        side = self.image_size
        if self._resize_mode == "squash":
            return image.resize((side, side), self._resampling, reducing_gap=_REDUCING_GAP)
        shorter = self._resize_mode == "shortest"
        extent = min(image.size) if shorter else max(image.size)
        width, height = (max(1, _scaled(edge, side, extent, shorter)) for edge in image.size)
        if image.size != (width, height):
            image = image.resize((width, height), self._resampling, reducing_gap=_REDUCING_GAP)
        if shorter:
            left, top = round((width - side) / 2), round((height - side) / 2)
            return image.crop((left, top, left + side, top + side))
        canvas = Image.new("RGB", (side, side), (self._fill,) * 3)
        canvas.paste(image, ((side - width) // 2, (side - height) // 2))
        return canvas


def load_clip(
    model: str, pretrained: str | None = None, device: str = "cpu", precision: str = "fp32"
) -> Clip:
    """A model, loaded once per process and kept.

    `model` is "winnow-tiny", an open_clip name with `pretrained` (a tag or a local weights file),
    "hf-hub:owner/name", or a folder with open_clip_config.json and weights; if the folder holds
    bpe.txt.gz, its merges are the tokenizer's. InputError as `check_clip`, and for a precision
    other than fp32, bf16 or fp16.
    """
    with _loading:
        return _load(model, pretrained, device, precision)


@lru_cache(maxsize=4)
def _load(model: str, pretrained: str | None, device: str, precision: str) -> Clip:
    if precision not in PRECISIONS:
        raise InputError(f'precision "{precision}" is none of {", ".join(PRECISIONS)}')
    source = find_source(model, pretrained)
    check_clip(model, pretrained)
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip

    try:
        network = open_clip.create_model(
            source.open_clip_name,
            pretrained=source.pretrained,
            precision=precision,
            device=device,
            require_pretrained=True,
            weights_only=True,
        )
    except (RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        # A pickle with anything but tensors also ends here, because only tensors are unpickled.
        first = str(error).strip().splitlines()[0][:160]
        raise InputError(
            f'clip model "{model}": its weights do not load ({type(error).__name__}: {first}); '
            "give a safetensors file that fits the architecture"
        ) from error
    network.eval().requires_grad_(False)
    bpe = source.folder / BPE_NAME if source.folder else None
    options = {"bpe_path": str(bpe)} if bpe and bpe.is_file() else {}
    tokenizer = open_clip.get_tokenizer(source.open_clip_name, **options)
    return Clip(network, tokenizer, model, clip_digest(model, pretrained), device, precision)


def _normalised(vectors: torch.Tensor) -> NDArray[np.float16]:
    import torch.nn.functional as F

    normal = F.normalize(vectors.float(), dim=-1)
    return normal.cpu().numpy().astype(np.float16)


def _scaled(edge: int, side: int, extent: int, shorter: bool) -> int:
    # torchvision cuts the longer edge off, open_clip's resize of the longest rounds it.
    return side * edge // extent if shorter else round(side * edge / extent)


def _side(size: int | tuple[int, int], name: str) -> int:
    if isinstance(size, int):
        return size
    if size[0] != size[1]:
        raise InputError(f'clip model "{name}" sees {size[0]}x{size[1]} pixels; take a square one')
    return int(size[0])


def _text_width(model: Any) -> int:
    tower = getattr(model, "text", model)
    final = getattr(tower, "ln_final", None)
    if final is not None:
        return int(final.normalized_shape[0])
    return int(tower.transformer.config.hidden_size)
