"""Pixels of any colour space to sRGB, by the picture's own profile if it has one (ICC.1:2022)."""

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""Pillow's modes and the profiles' colour spaces."""
_UNSEEN = 2
"""Greatest change of a value (0–255) at which a profile counts as sRGB itself."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode RGB, L or CMYK as RGB in sRGB.

    Without a profile, and with one that is broken or belongs to another colour space, the values
    are taken for sRGB (CMYK: as ink over white), as browsers do.
    """
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    result = ImageCms.applyTransform(image, transform)
    assert result is not None
    return result


@functools.lru_cache(maxsize=32)
def is_usable(profile: bytes, mode: str) -> bool:
    """Whether a profile can be read and belongs to an image of mode RGB, L or CMYK."""
    try:
        return _space(_opened(profile)) == _SPACES[mode]
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _space(source: ImageCms.ImageCmsProfile) -> str:
    return str(source.profile.xcolor_space).strip()


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """Little CMS's transform to sRGB; None if the profile is sRGB or cannot be used."""
    try:
        source = _opened(profile)
        if _space(source) != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
        if mode == "RGB" and _changes(transform) <= _UNSEEN:
            return None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform


@functools.lru_cache(maxsize=1)
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")


def _changes(transform: Any) -> int:
    """The greatest change that a transform makes to one of 9×9×9 colours, 0–255."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    result = ImageCms.applyTransform(Image.fromarray(grid), transform)
    return int(np.abs(np.asarray(result).astype(int) - grid).max())
