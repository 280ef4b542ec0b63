"""What linear and MLP heads share: layers of weights in a safetensors file.

LAION's aesthetic predictors and NSFW heads and Q16 are of these forms:
`python -m pipeline.models.convert_head` converts their weights.
"""

import itertools
from abc import abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.models.heads.base import (
    HeadConfig,
    HeadKind,
    Judge,
    Scores,
    Vectors,
    VectorSpace,
    logistic,
)
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError

Layers = list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Weight (out, in) and bias (out,) of each layer, in order."""


class LayersConfig(HeadConfig):
    """Keys of both kinds."""

    weights: str = Field(
        description="A safetensors file (`layers.N.weight`, `layers.N.bias`), N from 0. LAION's "
        "aesthetic and NSFW heads and Q16 are converted by "
        "`python -m pipeline.models.convert_head`, which prints the keys to write here."
    )
    activation: Literal["none", "sigmoid"] = Field("none", description="Applied to the output.")


class LayersHead(HeadKind):
    """Layers applied to the vector, one output at the end."""

    Config = LayersConfig

    @abstractmethod
    def check_layers(self, layers: Layers) -> None:
        """InputError for layers that this kind cannot use."""

    def hidden(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Applied between the layers."""
        return x

    def check(self, dim: int | None) -> None:
        path = Path(self.config.weights)
        if not path.is_file():
            raise InputError(f"{self.place}.weights: {path} does not exist; check the path")
        if path.suffix != ".safetensors":
            raise InputError(
                f"{self.place}.weights: {path.name} is not safetensors; pickles are not loaded: "
                "convert it"
            )
        layers = self._read()
        if dim is not None:
            self._check_width(layers, dim)

    def digest(self) -> str:
        return file_digest(Path(self.config.weights))

    def load(self, space: VectorSpace) -> Judge:
        layers = self._read()
        self._check_width(layers, space.dim)

        def judge(vectors: Vectors) -> Scores:
            x = vectors
            for i, (weight, bias) in enumerate(layers):
                x = (x if i == 0 else self.hidden(x)) @ weight.T + bias
            scores: Scores = x[:, 0]
            return logistic(scores) if self.config.activation == "sigmoid" else scores

        return judge

    def notice(self, model: str) -> str | None:
        from safetensors import safe_open

        with safe_open(self.config.weights, "np") as file:
            made_for = (file.metadata() or {}).get("clip")
        if made_for is None or _plain(made_for) == _plain(model):
            return None
        return (
            f"{self.place}.weights: made for vectors of {made_for}, `embed` has {model}; its "
            "scores mean nothing unless these are the same weights"
        )

    def _check_width(self, layers: Layers, dim: int) -> None:
        width = layers[0][0].shape[1]
        if width != dim:
            raise InputError(
                f"{self.place}.weights: made for vectors of width {width}, `embed.model` gives "
                f"{dim}; take the head of this model"
            )

    def _read(self) -> Layers:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        weights, place = self.config.weights, self.place
        try:
            tensors = load_file(weights)
        except SafetensorError as error:
            raise InputError(
                f"{place}.weights: {weights} is not safetensors ({error}); convert it"
            ) from error
        layers: Layers = []
        while (name := f"layers.{len(layers)}.weight") in tensors:
            weight = tensors[name].astype(np.float32)
            bias = tensors.get(f"layers.{len(layers)}.bias", np.zeros(len(weight)))
            layers.append((weight, bias.astype(np.float32)))
        widths = [weight.shape[::-1] for weight, _ in layers]  # (in, out) of each
        chained = all(left[1:] == right[:1] for left, right in itertools.pairwise(widths))
        fits = all(
            len(w) == 2 and b.shape == w[1:] for w, (_, b) in zip(widths, layers, strict=True)
        )
        if not layers or not fits or not chained or widths[-1][1] != 1:
            shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
            raise InputError(
                f"{place}.weights: layers.0.weight (out, in), layers.0.bias (out) … with one "
                f"output at the end are expected, {shapes} found; rename or reshape them"
            )
        self.check_layers(layers)
        return layers


def _plain(model: str) -> str:
    return model.lower().replace("-", "_").replace("/", "_").replace(" ", "")
