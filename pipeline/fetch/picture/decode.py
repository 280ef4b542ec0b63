"""Bytes to an upright sRGB picture: each format's odd cases turned into plain 8-bit colour."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.fetch.picture.colour import is_usable, to_srgb
from pipeline.fetch.picture.ends import check_gif, ended_webp
from pipeline.fetch.picture.jpeg import decode_jpeg, missing
from pipeline.fetch.picture.metadata import ORIENTATION, check_size, read_metadata
from pipeline.fetch.picture.missing import check_missing
from pipeline.fetch.picture.png import check_rows, refilled_png
from pipeline.fetch.picture.sniff import Sniffed
from pipeline.words.oddities import PROFILE_BROKEN

Pixels = npt.NDArray[np.uint8]
_STRIP = 1 << 20
"""Pixels mixed with white at a time: the arithmetic needs several times their size."""

# Pillow warns of broken EXIF and of large pictures; both are common on the web.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Decoded:
    """sRGB uint8, shape (height, width, 3), as a viewer shows the picture.

    `turned`: EXIF orientation swapped width and height. `odd`: what is wrong with the file, words
    of `words/oddities`.
    """

    pixels: Pixels
    turned: bool
    odd: frozenset[str]


def decode(
    data: bytes, sniffed: Sniffed, scale: float = 1.0, metadata_cap: int = 4_000_000
) -> Decoded:
    """Decode to upright sRGB. A JPEG may be decoded at reduced size (scaled in the DCT, libjpeg),
    each side at least `scale` times its own. Transparency is put on white; of an animation the
    first frame is taken; 16-bit values are rounded to 8; the picture's colour profile is applied.

    Raises MetadataOversizeError, CutShortError, and whatever the decoders raise on broken bytes:
    they have no common exception.
    """
    metadata = read_metadata(data, sniffed.format, metadata_cap)
    odd = set(metadata.odd)
    orientation, profile = metadata.orientation, metadata.profile
    bare = metadata.bare
    pixels: Pixels | None = None
    if sniffed.format == "jpeg":
        bare, pixels = decode_jpeg(data, sniffed, scale, odd)
        if pixels is not None and sniffed.components == 3:
            if profile is not None:
                note_profile(profile, "RGB", odd)
                pixels = np.asarray(to_srgb(Image.fromarray(pixels), profile))
            return Decoded(turn(pixels, orientation), orientation >= 5, frozenset(odd))
        if pixels is not None and sniffed.components == 1 and profile is None:
            pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
            return Decoded(turn(pixels, orientation), orientation >= 5, frozenset(odd))
    frame = check_gif(data, odd) if sniffed.format == "gif" else None
    if sniffed.format == "webp":
        bare = ended_webp(data, odd)
    with _opened(bare, sniffed, odd) as image:
        if sniffed.format == "avif":
            # Pillow reports an AVIF file's rotation (`irot`, `imir`) as EXIF orientation.
            orientation, profile = _orientation(image), image.info.get("icc_profile")
            check_size("a colour profile", len(profile or b""), metadata_cap)
        if sniffed.format == "jpeg" and pixels is None:
            check_missing(missing(bare, np.asarray(image), _by_pillow), odd)
        result = _to_rgb(image, profile)
        if frame is not None:
            result = _only(result, frame)
        if profile is not None:
            mode = image.mode if image.mode in ("CMYK", "L") else "RGB"
            note_profile(profile, "L" if image.mode.startswith(("I", "L")) else mode, odd)
    return Decoded(turn(result, orientation), orientation >= 5, frozenset(odd))


def note_profile(profile: bytes, mode: str, odd: set[str]) -> None:
    if not is_usable(profile, mode):
        odd.add(PROFILE_BROKEN)


def _opened(bare: bytes, sniffed: Sniffed, odd: set[str]) -> Image.Image:
    """The image, its pixels loaded. ValueError if it has another size than its header says."""
    image = _open(bare, sniffed)
    if sniffed.format != "png":
        image.load()
        return image
    try:
        image.load()
    except OSError:
        return _open(refilled_png(bare, odd), sniffed)
    # Pillow leaves rows that are missing as they were, which is zero.
    last = image.crop((0, image.height - 1, image.width, image.height))
    if image.info.get("interlace") or not np.asarray(last).any():
        check_rows(bare, odd)
    return image


def _open(bare: bytes, sniffed: Sniffed) -> Image.Image:
    image = Image.open(io.BytesIO(bare), formats=[sniffed.format])
    size = (sniffed.width, sniffed.height)
    if image.size != size and not (sniffed.format == "avif" and image.size == size[::-1]):
        raise ValueError(f"two sizes: {sniffed.width}×{sniffed.height} and {image.size}")
    return image


def _by_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data), formats=["jpeg"]) as image:
        return np.asarray(image)


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


def _only(pixels: Pixels, frame: tuple[int, int, int, int]) -> Pixels:
    """White around a GIF's first frame: there it is transparent, whatever the background colour."""
    left, top, right, bottom = frame
    if left <= 0 and top <= 0 and bottom >= pixels.shape[0] and right >= pixels.shape[1]:
        return pixels
    white = np.full_like(pixels, 255)
    white[top:bottom, left:right] = pixels[top:bottom, left:right]
    return white


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
