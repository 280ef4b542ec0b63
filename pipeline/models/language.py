"""Language identification by py3langid, which carries its model (Lui and Baldwin, 2012)."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


@functools.lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def identify_languages(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """ISO 639-1 code and probability (float32) per text."""
    answers = [_identifier().classify(text) for text in texts]
    return [str(code) for code, _ in answers], np.array([p for _, p in answers], np.float32)
