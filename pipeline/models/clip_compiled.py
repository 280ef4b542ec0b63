"""CLIP's towers on the CPU, compiled by OpenVINO, in the fastest precision that agrees with fp32.

int8 is fitted to drawn pictures and random tokens (NNCF's post-training quantization), so that it
depends on the weights alone; how well it agrees is measured on what the job itself holds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.sections import EmbedConfig
from pipeline.models.clip import Clip, load_clip
from pipeline.models.compiled import Arrays, Compiled, Convertible
from pipeline.models.drawn import drawn_pictures, drawn_texts
from pipeline.models.precision import LEAST_PARAMETERS, Agreement, Choice, found_for
from pipeline.table.part import digest_of

if TYPE_CHECKING:
    import torch

_PICTURES, _TEXTS = 64, 64


class CompiledClip(Clip):
    """The same model with compiled towers; a tower that OpenVINO does not convert is PyTorch's."""

    def __init__(self, clip: Clip, precision: str, least_cosine: float, place: str) -> None:
        """`precision` is fp32, bf16, int8, or `auto`: the fastest whose cosines with fp32 are at
        least `least_cosine` on what is encoded first. What is chosen holds for the job at `place`
        in all processes of this machine."""
        self.__dict__.update(copy.copy(clip.__dict__))
        self._clip = clip
        self._asked, self._least, self._place = precision, least_cosine, place
        self._image: tuple[Compiled | None, Choice] | None = None
        self._text: tuple[Compiled | None, Choice] | None = None

    @property
    def choices(self) -> dict[str, Choice]:
        """By tower, for those that have run."""
        found = {"image": self._image, "text": self._text}
        return {name: one[1] for name, one in found.items() if one is not None}

    def _see(self, pixels: NDArray[np.float32]) -> torch.Tensor:
        import torch

        if self._image is None:
            self._image = self._choose("image", _image_tower(self._clip), (pixels,))
        network = self._image[0]
        return self._clip._see(pixels) if network is None else torch.from_numpy(network(pixels))

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        import torch

        from pipeline.models.clip_text import can_trim, used_lengths

        if can_trim(self._model):
            tokens = tokens[:, : int(used_lengths(tokens).max())]
        if self._text is None:
            self._text = self._choose("text", _text_tower(self._clip), (tokens.numpy(),))
        network = self._text[0]
        if network is None:
            return self._clip._read(tokens)
        return torch.from_numpy(network(tokens.numpy()))

    def _choose(
        self, tower: str, network: Convertible, first: Arrays
    ) -> tuple[Compiled | None, Choice]:
        return found_for(
            self._asked, network, first, Agreement("cosine", self._least), self._place,
            what=f"the {tower} tower of {self.name}", key="embed.precision",
        )  # fmt: skip


def clip_of(config: EmbedConfig) -> Clip:
    """A job's model in PyTorch, for the few texts and pictures that are no rows of the job.

    In fp32, but where the job has `fp16` or `bf16` on another device than a CPU.
    """
    asked = config.precision
    precision = asked if config.device != "cpu" and asked in ("fp16", "bf16") else "fp32"
    return load_clip(str(config.model), config.pretrained, config.device, precision)


def embedder(config: EmbedConfig, place: str) -> Clip:
    """A job's model in the arithmetic that the job asks for; `place` is that of its run."""
    clip = clip_of(config)
    if config.device != "cpu" or not (config.precision == "int8" or worth_compiling(clip)):
        if config.device == "cpu" and config.precision == "bf16":
            return load_clip(str(config.model), config.pretrained, config.device, "bf16")
        return clip
    return _compiled_clip(clip, config.precision, config.min_cosine, place)


@lru_cache(maxsize=2)
def _compiled_clip(clip: Clip, precision: str, least_cosine: float, place: str) -> CompiledClip:
    return CompiledClip(clip, precision, least_cosine, place)


def worth_compiling(clip: Clip) -> bool:
    """Whether the model is large enough to be converted."""
    return sum(p.numel() for p in clip._model.parameters()) >= LEAST_PARAMETERS


def _image_tower(clip: Clip) -> Convertible:
    side = clip.image_size

    def trace() -> tuple[Any, tuple[Any, ...], Any]:
        import torch

        module = _module(clip._model, clip._model.encode_image)
        return module, (torch.zeros(2, 3, side, side),), ({0: torch.export.Dim("rows", min=1)},)

    def samples() -> Iterator[Sequence[NDArray[Any]]]:
        for picture in drawn_pictures(_PICTURES, side):
            yield [clip.preprocess(picture)[None]]

    return Convertible(digest_of({"clip": clip.digest, "tower": "image"}), trace, samples)


def _text_tower(clip: Clip) -> Convertible:
    from pipeline.models.clip_text import can_trim, pooled_whole

    trims = can_trim(clip._model)

    def trace() -> tuple[Any, tuple[Any, ...], Any]:
        import torch

        axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
        if trims:
            tokens = torch.ones(2, 8, dtype=torch.int64)
            module = _module(clip._model, lambda x: pooled_whole(clip._model, x))
            return module, (tokens,), (axes,)
        tokens = torch.ones(2, clip.context_length, dtype=torch.int64)
        module = _module(clip._model, clip._model.encode_text)
        return module, (tokens,), ({0: torch.export.Dim.AUTO},)

    def samples() -> Iterator[Sequence[NDArray[Any]]]:
        from pipeline.models.clip_text import used_lengths

        for text in drawn_texts(_TEXTS):
            tokens = clip.tokens_of([text])
            used = int(used_lengths(tokens)[0]) if trims else clip.context_length
            yield [tokens[:, :used].numpy()]

    return Convertible(digest_of({"clip": clip.digest, "tower": "text"}), trace, samples)


def _module(model: Any, call: Callable[[Any], Any]) -> Any:
    """A module that does the call; `torch.export` takes nothing else."""
    import torch

    class Call(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # so that its weights are the module's own

        def forward(self, given: Any) -> Any:
            return call(given)

    return Call().eval()
