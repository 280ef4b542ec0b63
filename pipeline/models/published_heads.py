"""Reads heads on CLIP vectors in the forms in which they are published (see `convert_head`)."""

import io
import itertools
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models.tensor_bundle import read_bundle
from pipeline.words.errors import InputError

Array = npt.NDArray[np.float64]
Layers = list[tuple[Array, Array]]
"""Weight (out, in) and bias (out,) of each layer."""

OPENAI = {512: "ViT-B-32 / openai", 768: "ViT-L-14 / openai"}
"""The CLIP model whose vectors a head of this width judges, unless its file says otherwise."""
Q16_SCALE = 100.0
"""The factor of cosines in Q16's classifier."""
_KERAS = "layer_with_weights-{}/{}/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class Head:
    """Layers with a ReLU between them, and what is applied to the one output."""

    form: str
    column: str
    """The column's usual name."""
    layers: Layers
    activation: str
    clip: str | None

    @property
    def width(self) -> int:
        return int(self.layers[0][0].shape[1])


def read_head(path: Path) -> tuple[Head, bytes]:
    """The head, and the bytes that it was read from. InputError for any other file."""
    if path.is_dir() or (zipfile.is_zipfile(path) and not _is_torch(path)):
        index, data = _bundle_files(path)
        return _keras(read_bundle(index, data), path), index + data
    data = path.read_bytes()
    if _is_torch(path):
        return _torch(_load_torch(path), path), data
    return _q16(_load_array(data, path), path), data


def fold(steps: list[tuple[Array, Array, bool]]) -> Layers:
    """Layers, each with whether a ReLU follows it, to layers with a ReLU between all of them."""
    layers: Layers = []
    follows = True
    for weight, bias, relu in steps:
        if follows:
            layers.append((weight, bias))
        else:
            before, own = layers.pop()
            layers.append((weight @ before, weight @ own + bias))
        follows = relu
    return layers


def _torch(tensors: Mapping[str, Array], path: Path) -> Head:
    names = set(tensors)
    if names == {"weight", "bias"}:
        layers = [(tensors["weight"], tensors["bias"])]
        clip = "ViT-B-16 / openai" if "b_16" in path.name else None
        return _head("aesthetic predictor 1", "aesthetic", layers, "none", path, clip)
    if "norm.mean" in names:
        numbers = range(1, 1 + sum(name.endswith(".weight") for name in names))
        parts = [(tensors[f"linear_{i}.weight"], tensors[f"linear_{i}.bias"]) for i in numbers]
        layers = _normalised(parts, tensors["norm.mean"], tensors["norm.variance"])
        return _head("CLIP-based NSFW detector", "pnsfw", layers, "sigmoid", path)
    numbers_ = sorted(
        int(n.split(".")[1]) for n in names if re.fullmatch(r"layers\.\d+\.weight", n)
    )
    if numbers_ and names == {f"layers.{i}.{w}" for i in numbers_ for w in ("weight", "bias")}:
        forms = {
            # Positions of the linear layers in their nn.Sequential; all others are ReLUs and
            # dropout, which does nothing here. What follows which is in the projects' code.
            (0, 2, 4, 6, 7): ("aesthetic predictor 2", "aesthetic", set[int](), None),
            (0, 3, 6, 9, 11): ("aesthetic predictor 2, ReLU", "aesthetic", {0, 3, 6, 9}, None),
            (0, 3, 6, 9, 12, 15, 16): (
                "H14 NSFW detector", "pnsfw", {0, 3, 6, 9, 12}, "ViT-H-14 / laion2b_s32b_b79k"
            ),
        }  # fmt: skip
        if (known := forms.get(tuple(numbers_))) is not None:
            form, column, relus, clip = known
            steps = [
                (tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"], i in relus)
                for i in numbers_
            ]
            return _head(form, column, fold(steps), "none", path, clip)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    raise InputError(
        f"{path}: {shapes} is none of the forms that are known; write its layers as "
        "`layers.0.weight` (out, in), `layers.0.bias` … to a safetensors file yourself"
    )


def _keras(variables: Mapping[str, Array], path: Path) -> Head:
    try:
        mean, variance = (variables[_KERAS.format(1, name)] for name in ("mean", "variance"))
        parts: Layers = []
        while (name := _KERAS.format(len(parts) + 2, "kernel")) in variables:
            bias = variables[_KERAS.format(len(parts) + 2, "bias")]
            parts.append((variables[name].T, bias))
    except KeyError as error:
        raise InputError(f"{path}: not LAION's NSFW detector: it has no {error}") from None
    layers = _normalised(parts, mean.reshape(-1), variance.reshape(-1))
    return _head("CLIP-based NSFW detector, Keras", "pnsfw", layers, "sigmoid", path)


def _normalised(parts: Layers, mean: Array, variance: Array) -> Layers:
    """The layers after a normalisation of their input, (x - mean) / sqrt(variance), as layers."""
    if not parts:
        raise InputError("the file holds a normalisation and no layers")
    (weight, bias), *others = parts
    weight = weight / np.maximum(np.sqrt(variance), 1e-7)
    return [(weight, bias - weight @ mean), *others]


def _q16(prompts: Array, path: Path) -> Head:
    """The softmax over the cosines with two learned prompts, the second being "inappropriate": the
    logistic function of their difference."""
    if prompts.ndim != 2 or len(prompts) != 2:
        raise InputError(f"{path}: Q16's prompts are two vectors, {list(prompts.shape)} found")
    harmless, inappropriate = prompts / np.linalg.norm(prompts, axis=1, keepdims=True)
    layers = [(Q16_SCALE * (inappropriate - harmless)[None], np.zeros(1))]
    clip = next((f"{m} / openai" for m in ("ViT-B-16", "ViT-B-32") if m in str(path)), None)
    return _head("Q16", "inappropriate", layers, "sigmoid", path, clip)


def _head(
    form: str, column: str, layers: Layers, activation: str, path: Path, clip: str | None = None
) -> Head:
    widths = [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)]
    shapes = [weight.shape[::-1] for weight, _ in layers]
    if shapes != list(itertools.pairwise(widths)) or widths[-1] != 1:
        raise InputError(f"{path}: layers of widths {widths} do not lead to one output")
    return Head(form, column, layers, activation, clip or OPENAI.get(widths[0]))


def _is_torch(path: Path) -> bool:
    """Whether torch wrote the file, in its format of before or since version 1.6."""
    return path.is_file() and path.suffix in (".pth", ".pt", ".bin")


def _load_torch(path: Path) -> dict[str, Array]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        first = str(error).strip().splitlines()[0][:120] if str(error).strip() else "it is cut"
        raise InputError(f"{path}: holds something else than tensors ({first})") from None
    if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise InputError(f"{path}: not a state dict; save the module's `state_dict()`")
    return {str(name): tensor.double().numpy() for name, tensor in found.items()}


class _ArrayUnpickler(pickle.Unpickler):
    """Makes numpy arrays, and nothing else."""

    _KNOWN = (
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"),
    )  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _load_array(data: bytes, path: Path) -> Array:
    try:
        found = _ArrayUnpickler(io.BytesIO(data)).load()
        return np.asarray(found, np.float64)
    except Exception as error:  # a pickle of another kind fails in many ways
        raise InputError(
            f"{path}: neither torch's (.pth), nor Keras's (.zip or folder), nor a pickled array "
            f"({str(error)[:80]})"
        ) from None


def _bundle_files(path: Path) -> tuple[bytes, bytes]:
    """The index and the data of the variables in Keras's folder or zip."""
    names = ("variables/variables.index", "variables/variables.data-00000-of-00001")
    try:
        if path.is_dir():
            first, second = ((path / name).read_bytes() for name in names)
            return first, second
        with zipfile.ZipFile(path) as archive:
            inner = {n: i for i in archive.infolist() for n in names if i.filename.endswith(n)}
            if any(info.file_size > 1 << 30 for info in inner.values()):
                raise InputError(f"{path}: its variables are larger than 1 GB; not such a head")
            first, second = (archive.read(inner[name]) for name in names)
            return first, second
    except (OSError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path}: has no {' and '.join(names)}, as Keras writes them") from None
