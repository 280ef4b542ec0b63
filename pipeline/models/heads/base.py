"""The base class of kinds of heads: keys in the job file, check, digest of the weights, scoring."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.config.base import Section
from pipeline.config.load import check_section
from pipeline.config.sections import Head

Vectors = npt.NDArray[np.float32]
"""CLIP vectors of pictures or captions, of length 1, float32, shape (rows, dim)."""
Scores = npt.NDArray[np.float32]
"""One score a row, float32, shape (rows,)."""
Judge = Callable[[Vectors], Scores]


class VectorSpace(Protocol):
    """The CLIP model that made the vectors, as far as a head needs it (`pipeline.models.clip`)."""

    dim: int
    """Width of the vectors."""
    logit_scale: float
    """Factor by which the model was trained to multiply cosines before a softmax."""

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float16]:
        """Texts to vectors of length 1 in the same space, float16, shape (texts, dim)."""


class HeadConfig(Section):
    """Base of a kind's section: its keys in addition to `name` and `kind`, with descriptions.

    A key that names a file is called `weights`: relative paths are made absolute by that name.
    """

    of: Literal["image", "text"] = Field(
        "image",
        description="What is judged: the picture's vector or the caption's. Pictures that a "
        "trained model draws are judged by heads of `image` alone.",
    )


class HeadKind(ABC):
    """A kind of head. An instance is one entry of `images.heads`; it holds settings, no weights.

    Instances are small and picklable. InputError, naming the key, for keys that are not as
    `Config` has them.
    """

    name: ClassVar[str]
    """What a job writes as `kind`."""
    version: ClassVar[int] = 1
    """Part of the fingerprint: raised when the kind's scores or a default change."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version is part of the fingerprint, as in `measure.stage.Stage`."""
    Config: ClassVar[type[HeadConfig]] = HeadConfig

    def __init__(self, head: Head, place: str) -> None:
        self.column, self.place = head.name, place
        self.config: Any = check_section(self.Config, head.model_extra or {}, place)

    @abstractmethod
    def check(self, dim: int | None) -> None:
        """InputError, before any work, for weights that do not fit vectors of width `dim`.

        `dim` is None where the width is known only once the CLIP model is loaded.
        """

    @abstractmethod
    def digest(self) -> str | None:
        """Digest of the content of its weights; None for a kind that has none."""

    def settings(self) -> dict[str, Any]:
        """Keys that change the score, for the fingerprint; its digest is given for `weights`."""
        recipe = self.config.recipe()
        recipe.pop("weights", None)
        return {"kind": self.name, "version": self.version} | recipe

    @abstractmethod
    def load(self, space: VectorSpace) -> Judge:
        """The judge of vectors of this space; called in the process that works, which keeps it.

        It raises InputError for weights made for vectors of another width.
        """

    def notice(self, model: str) -> str | None:
        """One line for the user before the head judges vectors of `model`; None: no line.

        `model` is the CLIP model as reports name it: `name / pretrained`.
        """
        return None

    def score(self, judge: Judge, vectors: Vectors) -> Scores:
        """The judge's scores; ValueError if they are not float32 of shape (rows,)."""
        scores = np.asarray(judge(vectors))
        if scores.shape != (len(vectors),) or scores.dtype != np.float32:
            raise ValueError(
                f"{self.place}: the head `{self.column}` ({self.name}) gave {scores.dtype} scores "
                f"of shape {scores.shape} for {len(vectors)} vectors; expected float32, one each"
            )
        return scores


def logistic(x: npt.NDArray[Any]) -> Scores:
    """1 / (1 + exp(-x)), which would overflow in this form: float32, the shape of `x`."""
    return np.asarray((np.tanh(x / 2) + 1) / 2, np.float32)
