"""Bytes that are no picture or a dangerous one: refused with a reason, and quickly."""

import zlib

import pytest
from hazard import Hazard, assert_as_expected, by_options
from loopback_site import Handler
from odd_pictures import (
    GOOD_PNG,
    GOOD_WEBP,
    deflated_zeros,
    gif_beyond_its_screen,
    gif_of_frames,
    png,
    png_of_two_sizes,
)
from plain_scenes import GOOD, encoded, noise, scene
from wire_pages import picture

LARGE = {"max_bytes": 20_000_000}
SIDE = 30_000
ONE_BIT = png(SIDE, SIDE, 1, 0, deflated_zeros(108 << 20))  # 30,000 rows of 3,751 bytes: 107.3 MiB
LONG = png(10_000, 1, 8, 0, zlib.compress(bytes(10_001)))
BIG_SIDES = encoded(scene(501, 400))
AVIF_TOO = {"formats": ("jpeg", "avif")}
AVIF = encoded(scene(), "AVIF")


def _avif_of(side: int) -> bytes:
    """An AVIF whose header has a wrong size."""
    at = AVIF.index(b"ispe") + 8
    return AVIF[:at] + side.to_bytes(4, "big") * 2 + AVIF[at + 8 :]


def _svg(entity: str) -> bytes:
    head = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "{entity}">]>'
    return f'{head}<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>'.encode()


def _outside(h: Handler) -> None:
    """An SVG with an external entity on the same site."""
    picture(_svg(f"{h.server.base}/entity"), Content_Type="image/svg+xml")(h)


HAZARDS: dict[str, Hazard] = {
    "html": Hazard(picture(b"<!DOCTYPE html><p>hi"), "not_an_image", "HTML"),
    "json": Hazard(picture(b'{"error": "gone"}'), "not_an_image", "JSON"),
    "text": Hazard(picture(b"gone"), "not_an_image", "text"),
    "svg": Hazard(picture(b'<svg xmlns=""/>', Content_Type="image/svg+xml"), "not_an_image", "SVG"),
    "svg-with-a-file-in-it": Hazard(picture(_svg("file:///etc/passwd")), "not_an_image", "SVG"),
    "svg-with-an-outside-entity": Hazard(_outside, "not_an_image", "SVG"),
    "bmp": Hazard(picture(encoded(scene(), "BMP")), "not_an_image", "BMP"),
    "tiff": Hazard(picture(encoded(scene(), "TIFF")), "not_an_image", "TIFF"),
    "eps": Hazard(picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not_an_image"),
    "pdf": Hazard(picture(b"%PDF-1.7\n"), "not_an_image", "PDF"),
    "avif-unasked": Hazard(picture(AVIF), "not_an_image", "avif"),
    "avif": Hazard(picture(AVIF), None, options=AVIF_TOO),
    "png-unasked": Hazard(
        picture(GOOD_PNG), "not_an_image", options=AVIF_TOO, judged=True
    ),
    "png-called-jpeg": Hazard(picture(GOOD_PNG), None),
    "webp-called-jpeg": Hazard(picture(GOOD_WEBP), None),
    "heic": Hazard(picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "not_an_image", "heic"),
    "cut-jpeg": Hazard(picture(GOOD[:-200]), "decode_error"),
    "cut-png": Hazard(picture(GOOD_PNG[:-60]), "decode_error"),
    "cut-webp": Hazard(picture(GOOD_WEBP[:-20]), "decode_error"),
    "magic-and-no-more": Hazard(picture(GOOD[:3]), "decode_error", "header"),
    "png-of-no-pixels": Hazard(picture(png(0, 0, 8, 0, zlib.compress(b""))), "decode_error"),
    "png-with-too-many-rows": Hazard(
        picture(png(64, 64, 8, 0, deflated_zeros(1 << 30))), None, options=LARGE
    ),
    "narrow": Hazard(picture(encoded(scene(31, 40))), "image_too_small", "31×40", judged=True),
    "thin": Hazard(picture(encoded(scene(400, 40))), "image_aspect_ratio", "400×40", judged=True),
    "10,000-by-1": Hazard(picture(LONG), "image_too_small", "10000×1", judged=True),
    "10,000-by-1-of-any-size": Hazard(
        picture(LONG), "image_aspect_ratio", "10000×1", options={"min_image_size": 1}, judged=True
    ),
    "30,000-squared-one-bit": Hazard(picture(ONE_BIT), "image_too_many_pixels", "30000×30000"),
    "one-pixel-too-wide": Hazard(
        picture(BIG_SIDES), "image_too_large", "501×400",
        options={"max_image_side": 500}, judged=True,
    ),
    "just-wide-enough": Hazard(picture(BIG_SIDES), None, options={"max_image_side": 501}),
    "100,000-frames": Hazard(picture(gif_of_frames(100_000)), None, options=LARGE),
    "png-of-two-sizes": Hazard(picture(png_of_two_sizes()), "decode_error"),
    "gif-frame-beyond-its-screen": Hazard(picture(gif_beyond_its_screen()), "decode_error"),
    "png-header-of-2-billion-a-side": Hazard(
        picture(png(2**31 - 1, 2**31 - 1, 1, 0, b"")), "image_too_many_pixels"
    ),
    "png-header-beyond-all-numbers": Hazard(
        picture(png(2**32 - 1, 2**32 - 1, 1, 0, b"")), "decode_error", "header"
    ),
    "avif-header-beyond-all-numbers": Hazard(
        picture(_avif_of(2**32 - 1)), "decode_error", "header", options=AVIF_TOO
    ),
    "noise": Hazard(picture(encoded(noise(300, 300), "PNG")), None, options=LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(HAZARDS))
def test_each_hostile_picture_gets_its_reason_in_time(name, serve, run):
    outcome = assert_as_expected(HAZARDS[name], serve, run)

    row = outcome.rows[1]
    if HAZARDS[name].reason is None or HAZARDS[name].judged:
        assert row["original_pixels"] == row["original_width"] * row["original_height"]
    else:
        assert (row["width"], row["phash"], row["thumb"]) == (None, None, None)


def test_urls_named_in_an_svg_are_not_requested(serve, run):
    site = serve({"/a.svg": _outside, "/entity": picture()})

    outcome = run([f"{site.base}/a.svg"], {})

    assert outcome.reasons == ["not_an_image"]
    assert site.requests["/entity"] == 0
    assert sum(site.requests.values()) == 2  # with robots.txt
