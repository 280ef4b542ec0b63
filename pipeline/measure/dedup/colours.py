"""Whether pictures have the same colours in the same places."""

from typing import Any

import numpy as np
import numpy.typing as npt

_PAIRS = 16_384
"""Pairs whose colours are compared at once: 60 MB of thumbnails."""
_GREY = 6.0
"""Mean range of the three channels below which a picture is grey, levels."""
_ONE_GREY = 0.97
"""Factor of the agreement where only one of the two is grey: else a grey copy would agree with all
others better than the picture in colour does, and be the centre of the group."""


def colour_agreements(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Cosine of the colours of pairs of pictures (pairs, …, 3) about each one's mean, −1 to 1
    (Torralba et al., 2008, on 32×32 pixels); of the luminances if one of the two is grey, and
    then a little less."""
    found = np.ones(len(first), np.float32)
    for start in range(0, len(first), _PAIRS):
        part = slice(start, start + _PAIRS)
        pair = [
            np.array(one[part], np.float32).reshape(len(first[part]), -1, 3)
            for one in (first, second)
        ]
        ranges = [np.ptp(colours, axis=2).mean(axis=1) for colours in pair]
        is_grey = np.minimum(*ranges) < _GREY
        one_is = is_grey & (np.maximum(*ranges) >= _GREY)
        for colours in pair:
            colours[is_grey] = colours[is_grey].mean(axis=2, keepdims=True)
        p, q = (colours - colours.mean(axis=(1, 2), keepdims=True) for colours in pair)
        sizes = np.linalg.norm(p, axis=(1, 2)) * np.linalg.norm(q, axis=(1, 2))
        products = np.einsum("npc,npc->n", p, q)
        agreement = np.where(sizes > 1e-6, products / np.maximum(sizes, 1e-6), 1.0)
        found[part] = np.where(one_is, _ONE_GREY * agreement, agreement)
    return found
