"""Bytes to an upright sRGB picture: each format's odd cases turned into plain 8-bit colour."""

import io
import math
import warnings
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from pipeline.fetch.picture.colour import to_srgb
from pipeline.fetch.picture.metadata import ORIENTATION, Metadata, check_size, read_metadata
from pipeline.fetch.picture.sniff import Sniffed

Pixels = npt.NDArray[np.uint8]
_STRIP = 1 << 20
"""Pixels mixed with white at a time: the arithmetic needs several times their size."""

# Pillow warns of broken EXIF and of large pictures; both are common on the web.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode(
    data: bytes, sniffed: Sniffed, scale: float = 1.0, metadata_cap: int = 4_000_000
) -> tuple[Pixels, bool]:
    """Decode to sRGB uint8, shape (height, width, 3), as a viewer shows it; and if it was turned.

    "Turned" means that EXIF orientation swapped width and height. A JPEG may be decoded at reduced
    size (scaled in the DCT, libjpeg), each side at least `scale` times its own. Transparency is put
    on white; of an animation the first frame is taken; 16-bit values are rounded to 8; the
    picture's colour profile is applied.

    Raises MetadataOversizeError, and whatever the decoders raise on broken bytes: they have no
    common exception.
    """
    metadata = read_metadata(data, sniffed.format, metadata_cap)
    pixels = None
    if sniffed.format == "jpeg" and (
        sniffed.components == 3 or (sniffed.components == 1 and metadata.profile is None)
    ):
        pixels = _decode_jpeg(data, sniffed, metadata, scale)
    if pixels is not None:
        return turn(pixels, metadata.orientation), metadata.orientation >= 5
    with Image.open(io.BytesIO(metadata.bare), formats=[sniffed.format]) as image:
        size = (sniffed.width, sniffed.height)
        if image.size != size and not (sniffed.format == "avif" and image.size == size[::-1]):
            raise ValueError(f"two sizes: {sniffed.width}×{sniffed.height} and {image.size}")
        orientation, profile = metadata.orientation, metadata.profile
        if sniffed.format == "avif":
            # Pillow reports an AVIF file's rotation (`irot`, `imir`) as EXIF orientation.
            orientation, profile = _orientation(image), image.info.get("icc_profile")
            check_size("a colour profile", len(profile or b""), metadata_cap)
        pixels = _to_rgb(image, profile)
    return turn(pixels, orientation), orientation >= 5


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Apply EXIF orientation 1–8 (CIPA DC-008, tag 274) to an array (height, width, …)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF can raise anything; the pixels may be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(data: bytes, sniffed: Sniffed, metadata: Metadata, scale: float) -> Pixels | None:
    """Decode with libjpeg-turbo, scaled; None if it fails: Pillow may still decode the picture."""
    # Only 1/2, 1/4, 1/8: the other eighths are slower in libjpeg-turbo than the next larger of
    # these.
    part = next(part for part in (8, 4, 2, 1) if part * scale <= 1)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB",
            min_height=math.ceil(sniffed.height / part), min_width=math.ceil(sniffed.width / part),
        )  # fmt: skip
    except ValueError:
        return None
    if metadata.profile is not None:
        pixels = np.asarray(to_srgb(Image.fromarray(pixels), metadata.profile))
    return pixels


def _to_rgb(image: Image.Image, profile: bytes | None) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        wide = np.asarray(image).astype(np.uint32).clip(0, 65535)
        grey = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
        return np.asarray(to_srgb(grey, profile))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        grey_alpha = image.mode in ("LA", "La") and profile is not None
        with image.convert("LA" if grey_alpha else "RGBA") as clear:
            *bands, alpha = clear.split()
        colour = bands[0] if len(bands) == 1 else Image.merge("RGB", bands)
        return _on_white(np.asarray(to_srgb(colour, profile)), np.asarray(alpha))
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(to_srgb(image, profile))


def _on_white(colour: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> Pixels:
    """Colour (height, width, 3) seen through `alpha` (height, width) on white, strip by strip."""
    mixed = np.empty(colour.shape, np.uint8)
    rows = max(1, _STRIP // colour.shape[1])
    for top in range(0, len(colour), rows):
        part = slice(top, top + rows)
        share = alpha[part, :, None].astype(np.uint16)
        white = 255 * (255 - share)
        mixed[part] = (colour[part].astype(np.uint16) * share + white + 127) // 255
    return mixed


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize to exactly width × height: Lanczos when growing, means of areas when shrinking.

    Areas that are not whole pixels are slow and blur unevenly. So up to a factor of 1.5 the
    picture is resized bilinearly, and up to 4 bilinearly to twice the size, then by means of 2×2.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    factor = min(pixels.shape[1] / width, pixels.shape[0] / height)
    if factor < 1:
        method = cv2.INTER_LANCZOS4
    elif factor <= 1.5:
        method = cv2.INTER_LINEAR
    else:
        method = cv2.INTER_AREA
        if factor < 4 and pixels.shape[:2] != (2 * height, 2 * width):
            pixels = _resize(pixels, 2 * width, 2 * height, cv2.INTER_LINEAR)
    return _resize(pixels, width, height, method)


def _resize(pixels: Pixels, width: int, height: int, method: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)
