"""Judges on CLIP picture vectors: zero-shot prompts, linear layers, MLPs.

LAION's aesthetic predictor and NSFW head and Q16 are of the linear and MLP forms; convert their
weights to safetensors named `layers.0.weight`, `layers.0.bias`, `layers.1.weight` …
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config.sections import Head
from pipeline.errors import InputError
from pipeline.table import digest_of, file_digest

Vectors = npt.NDArray[np.float32]
Layers = list[tuple[Vectors, Vectors]]
Judge = Callable[[Vectors], npt.NDArray[np.float32]]
"""Normalised picture vectors (pictures, dim) to scores, float32, shape (pictures,)."""


def check_head(head: Head, place: str, dim: int | None = None) -> None:
    """InputError before any work if the head's weights cannot serve vectors of width `dim`.

    Without `dim` the width is checked when the CLIP model is loaded.
    """
    if head.weights is None:
        return
    path = Path(head.weights)
    if not path.is_file():
        raise InputError(f"{place}.weights: {path} does not exist; check the path")
    if path.suffix != ".safetensors":
        raise InputError(
            f"{place}.weights: {path.name} is not safetensors; pickles are not loaded: convert it"
        )
    layers = _layers(head, place)
    if dim is not None:
        _check_width(layers, dim, place)


def _check_width(layers: Layers, dim: int, place: str) -> None:
    width = layers[0][0].shape[1]
    if width != dim:
        raise InputError(
            f"{place}.weights: made for vectors of width {width}, `embed.model` gives {dim}; "
            "take the head of this model"
        )


def head_digest(head: Head) -> str:
    if head.weights is not None:
        return file_digest(Path(head.weights))
    return digest_of([head.positive, head.negative])


def _layers(head: Head, place: str) -> Layers:
    """Weight (out, in) and bias (out,) per layer, in order."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(str(head.weights))
    except SafetensorError as error:
        raise InputError(
            f"{place}.weights: {head.weights} is not safetensors ({error}); convert it"
        ) from error
    layers: Layers = []
    while (name := f"layers.{len(layers)}.weight") in tensors:
        weight = tensors[name].astype(np.float32)
        bias = tensors.get(f"layers.{len(layers)}.bias", np.zeros(len(weight)))
        layers.append((weight, bias.astype(np.float32)))
    widths = [weight.shape[::-1] for weight, _ in layers]  # (in, out) of each
    chained = all(left[1:] == right[:1] for left, right in itertools.pairwise(widths))
    fits = all(len(w) == 2 and b.shape == w[1:] for w, (_, b) in zip(widths, layers, strict=True))
    if not layers or not fits or not chained or widths[-1][1] != 1:
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        raise InputError(
            f"{place}.weights: layers.0.weight (out, in), layers.0.bias (out) … with one output at "
            f"the end are due, {shapes} found; rename or reshape them"
        )
    if head.kind == "linear" and len(layers) != 1:
        raise InputError(f"{place}: a linear head has one layer, {len(layers)} found; kind: mlp?")
    return layers


def make_judge(
    head: Head,
    encode_texts: Callable[[list[str]], npt.NDArray[np.float16]],
    logit_scale: float,
    dim: int,
) -> Judge:
    """The head as a function. InputError if its weights are for vectors of another width."""
    if head.kind == "zeroshot":
        prompts = encode_texts([*head.positive, *head.negative]).astype(np.float32)
        return _zeroshot(prompts, len(head.positive), logit_scale)
    layers = _layers(head, f"images.heads.{head.name}")
    _check_width(layers, dim, f"images.heads.{head.name}")

    def judge(vectors: Vectors) -> npt.NDArray[np.float32]:
        x = vectors
        for i, (weight, bias) in enumerate(layers):
            # LAION's aesthetic MLP has only dropout between its layers, hence the default
            # (github.com/christophschuhmann/improved-aesthetic-predictor).
            x = x @ weight.T + bias
            if head.hidden_activation == "relu" and i + 1 < len(layers):
                x = np.maximum(x, 0)
        score: npt.NDArray[np.float32] = x[:, 0]
        return _sigmoid(score) if head.activation == "sigmoid" else score

    return judge


def _sigmoid(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # exp(-x) would overflow.
    result: npt.NDArray[np.float32] = np.asarray((np.tanh(x / 2) + 1) / 2, np.float32)
    return result


def _zeroshot(prompts: Vectors, positives: int, scale: float) -> Judge:
    def judge(vectors: Vectors) -> npt.NDArray[np.float32]:
        logits = scale * vectors @ prompts.T
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: npt.NDArray[np.float32] = share[:, :positives].sum(axis=1) / share.sum(axis=1)
        return result

    return judge
