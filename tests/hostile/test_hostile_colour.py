"""Every unusual way to store colours gives the same upright sRGB picture, compared with Pillow's.

The stored JPEG halves the colours' resolution and rounds: at quality 100 a plain area stays within
3 of 255, which is the tolerance here, 10 pixels away from every edge; a wrong channel, profile,
turn or transparency is 20 and more away.
"""

import io
from typing import Any

import numpy as np
import pytest
from colour_profiles import (
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    swapped_profile,
)
from odd_pictures import deep_png, without_adobe
from PIL import Image, ImageCms
from plain_scenes import HEIGHT, WIDTH, encoded, scene, stored_as
from wire_pages import picture

TOLERANCE = 3
EDGE = 10
SCENE = Image.fromarray(scene())
GREY = SCENE.convert("L")
Case = tuple[bytes, Any]
"""A picture's bytes, and the expected RGB picture (Pillow)."""


def _turned(orientation: int, format: str) -> Case:  # noqa: A002
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if format == "WEBP" else {}
    return encoded(stored_as(SCENE, orientation), format, exif=exif, **lossless), SCENE


def _profiled(image: Image.Image, profile: bytes, format: str = "PNG") -> Case:  # noqa: A002
    """A picture with a profile; the expected one by Pillow and Little CMS."""
    data = encoded(image, format, icc_profile=profile)
    with Image.open(io.BytesIO(data)) as read:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        result = ImageCms.profileToProfile(
            read, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    return data, result


def _see_through(mode: str, alpha: int = 0) -> Image.Image:
    """The scene, with this alpha in its upper half."""
    image = SCENE.convert("RGBA")
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[: HEIGHT // 2] = alpha
    image.putalpha(Image.fromarray(mask))
    return image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _read(data: bytes) -> Case:
    """The picture as Pillow converts it."""
    with Image.open(io.BytesIO(data)) as image:
        return data, image.convert("RGB")


def _deep(image: Image.Image) -> bytes:
    return deep_png(np.asarray(image).astype(np.uint16) * 257)


CMYK = encoded(SCENE.convert("CMYK"))
BLACK = Image.new("RGB", SCENE.size)

CASES: dict[str, Case] = {
    **{f"orientation-{n}-{form}": _turned(n, form)
       for form in ("JPEG", "PNG", "WEBP") for n in range(1, 9)},
    "jpeg-grey": (encoded(GREY), GREY),
    "jpeg-progressive": _read(encoded(SCENE, progressive=True)),
    "jpeg-420": _read(encoded(SCENE, subsampling=2)),
    "jpeg-stored-as-rgb": (encoded(SCENE, keep_rgb=True), SCENE),
    "jpeg-cmyk": _read(CMYK),
    "jpeg-cmyk-without-adobe": _read(without_adobe(CMYK)),
    "jpeg-cmyk-with-profile": _profiled(SCENE.convert("CMYK"), cmyk_profile(), "JPEG"),
    "jpeg-display-p3": _profiled(SCENE, rgb_profile(DISPLAY_P3), "JPEG"),
    "jpeg-swapped": _profiled(SCENE, swapped_profile(), "JPEG"),
    "jpeg-grey-with-profile": _profiled(GREY, grey_profile(1.0), "JPEG"),
    "jpeg-grey-with-rgb-profile": (encoded(GREY, icc_profile=swapped_profile()), GREY),
    "jpeg-with-grey-profile": (encoded(SCENE, icc_profile=grey_profile(1.0)), SCENE),
    "jpeg-with-broken-profile": (encoded(SCENE, icc_profile=swapped_profile()[:300]), SCENE),
    "png-one-bit": _read(encoded(SCENE.convert("1", dither=Image.Dither.NONE), "PNG")),
    "png-grey": (encoded(GREY, "PNG"), GREY),
    "png-palette": _read(encoded(SCENE.quantize(8), "PNG")),
    "png-palette-of-2-bits": _read(encoded(SCENE.quantize(4), "PNG", bits=2)),
    "png-16-bit": (_deep(SCENE), SCENE),
    "png-16-bit-grey": (_deep(GREY), GREY),
    "png-16-bit-alpha": (_deep(_see_through("RGBA", 51)), _on_white(_see_through("RGBA", 51))),
    "png-transparent": (encoded(_see_through("RGBA"), "PNG"), _on_white(_see_through("RGBA"))),
    "png-half-transparent": (
        encoded(_see_through("RGBA", 102), "PNG"), _on_white(_see_through("RGBA", 102))
    ),
    "png-grey-alpha": (encoded(_see_through("LA"), "PNG"), _on_white(_see_through("LA"))),
    "png-palette-alpha": (
        encoded(_see_through("RGBA").quantize(8), "PNG"), _on_white(_see_through("RGBA"))
    ),
    "png-transparent-colour": (
        encoded(SCENE, "PNG", transparency=(240, 240, 240)),
        Image.fromarray(np.where(scene() == 240, 255, scene()).astype(np.uint8)),
    ),
    "png-display-p3": _profiled(SCENE, rgb_profile(DISPLAY_P3)),
    "png-linear": _profiled(SCENE, rgb_profile(SRGB, 1.0)),
    "png-swapped": _profiled(SCENE, swapped_profile()),
    "png-grey-with-profile": _profiled(GREY, grey_profile(1.0)),
    "webp-lossless": (encoded(SCENE, "WEBP", lossless=True), SCENE),
    "webp-lossy": _read(encoded(SCENE, "WEBP", quality=95)),
    "webp-transparent": (
        encoded(_see_through("RGBA"), "WEBP", lossless=True), _on_white(_see_through("RGBA"))
    ),
    "webp-swapped": _profiled(SCENE, swapped_profile(), "WEBP"),
    "webp-animated": (
        encoded(SCENE, "WEBP", lossless=True, save_all=True, append_images=[BLACK]), SCENE
    ),
    "gif": _read(encoded(SCENE, "GIF")),
    "gif-animated": _read(encoded(SCENE, "GIF", save_all=True, append_images=[BLACK])),
    "gif-transparent": (
        encoded(_see_through("RGBA"), "GIF"), _on_white(_see_through("RGBA"))
    ),
    "png-animated": (encoded(SCENE, "PNG", save_all=True, append_images=[BLACK]), SCENE),
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(serve, run):
    """All pictures in one shard; each is compared separately."""
    site = serve({f"/{i}": picture(data) for i, (data, _) in enumerate(CASES.values())})
    urls = [f"{site.base}/{i}" for i in range(len(CASES))]
    outcome = run(urls, {"resize_mode": "no", "encode_quality": 100})
    return dict(zip(CASES, range(len(CASES)), strict=True)), outcome


def _areas(pixels: np.ndarray) -> list[np.ndarray]:
    """The four quarters without their edges."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    corners = [(top, left) for top in (0, height) for left in (0, width)]
    inner = slice(EDGE, -EDGE)
    return [pixels[t : t + height, x : x + width][inner, inner] for t, x in corners]


@pytest.mark.parametrize("name", CASES)
def test_a_picture_looks_as_it_should(name, stored):
    rows, outcome = stored
    row, wanted = rows[name], np.asarray(CASES[name][1].convert("RGB")).astype(int)

    assert outcome.rows[row]["fetch_reason"] is None, outcome.rows[row]["error_message"]
    pixels = outcome.pixels(row)

    assert pixels.shape == wanted.shape == (HEIGHT, WIDTH, 3)
    for area, asked in zip(_areas(pixels), _areas(wanted), strict=True):
        assert np.abs(area - asked).max() <= TOLERANCE, (area[10, 10], asked[10, 10])


def test_ignoring_the_test_profiles_would_change_the_pictures():
    """Each profile changes some quarter by far more than the tolerance."""
    for name in ("display-p3", "swapped", "linear", "grey-with-profile", "cmyk-with-profile"):
        [data, wanted] = next(case for key, case in CASES.items() if key.endswith(name))
        with Image.open(io.BytesIO(data)) as image:
            unread = np.asarray(image.convert("RGB")).astype(int)
        difference = np.abs(unread - np.asarray(wanted.convert("RGB")).astype(int))
        assert difference.max() > 6 * TOLERANCE, name
