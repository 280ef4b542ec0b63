"""Safety of pictures and measures of the pixels: docs/quality.md.

Photographs are no part of the project: with --data FOLDER those below FOLDER/photographs are read
(*.jpg, *.jpeg). Without it the measures of the pixels are taken on parts of scikit-learn's two.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from pipeline.measure.pictures.pixels import PixelsSession
from pipeline.models.nsfw import load_nsfw
from tests.quality.scores import Confusion, percent, table

BLOCKS = ("pixels-drawn", "pixels-photographs", "open-nsfw")
SIDE = 512
DRAWN = 200
RULES = {
    "blur": ("blurred", "blur > 0.5", lambda m: (m["blur"] or 0) > 0.5),
    "margin": (
        "framed",
        "border_top + border_bottom > 0.1",
        lambda m: m["border_top"] + m["border_bottom"] > 0.1,
    ),
    "one colour": ("blank", "one_colour_share > 0.98", lambda m: m["one_colour_share"] > 0.98),
    "flat": ("blank", "flat_share > 0.95", lambda m: m["flat_share"] > 0.95),
    "text": ("page", "text_share > 0.4", lambda m: m["text_share"] > 0.4),
}
"""What each rule is to find, the rule, and the same in Python."""
WORDS = "grey ships sail slowly past the harbour wall before noon on each day of june".split()  # noqa: SIM905

Picture = np.ndarray


def tables(data: Path | None) -> dict[str, str]:
    found = {"pixels-drawn": _pixels(list(_parts(DRAWN)))}
    if data is not None and (photographs := _photographs(data)):
        found["pixels-photographs"] = _pixels(photographs[::5])
        found["open-nsfw"] = _nsfw(photographs)
    return found


def _photographs(data: Path) -> list[Picture]:
    paths = sorted(p for p in (data / "photographs").rglob("*") if p.suffix.lower() in EXTENSIONS)
    return [picture for path in paths if (picture := _read(path)) is not None]


EXTENSIONS = (".jpg", ".jpeg")


def _read(path: Path) -> Picture | None:
    """RGB with no side above 512, as a job stores it."""
    bgr = cv2.imread(str(path))
    return None if bgr is None else _fitted(bgr[:, :, ::-1])


def _fitted(rgb: Picture) -> Picture:
    factor = min(1.0, SIDE / max(rgb.shape[:2]))
    size = [max(1, round(side * factor)) for side in rgb.shape[1::-1]]
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _parts(count: int) -> Iterator[Picture]:
    """Random parts of scikit-learn's sample photographs."""
    photos, rng = load_sample_images().images, np.random.default_rng(0)
    for i in range(count):
        photo, zoom = photos[i % 2], rng.uniform(0.3, 1)
        height, width = (int(side * zoom) for side in photo.shape[:2])
        y, x = (
            rng.integers(0, s - p + 1) for s, p in zip(photo.shape, (height, width), strict=False)
        )
        yield np.ascontiguousarray(photo[y : y + height, x : x + width])


def _blurred(photo: Picture, rng: np.random.Generator) -> Picture:
    """By a Gauss of 1.5 to 4 % of the longer side."""
    return cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.015, 0.04) * max(photo.shape))


def _framed(photo: Picture, rng: np.random.Generator) -> Picture:
    """Bars above and below, each 6 to 20 % of the height, of one colour."""
    bars = [int(rng.uniform(0.06, 0.2) * photo.shape[0]) + 1 for _ in range(2)]
    colour = [int(rng.choice((0, 255)))] * 3
    return cv2.copyMakeBorder(photo, *bars, 0, 0, cv2.BORDER_CONSTANT, value=colour)


def _blank(rng: np.random.Generator) -> Picture:
    """One colour with grain of up to 2 levels, half of them with a mark of 1 % of the area."""
    side = int(rng.integers(64, SIDE))
    picture = np.full((side, side, 3), rng.integers(0, 256, 3), np.int16)
    picture += rng.integers(-2, 3, picture.shape)
    if rng.random() < 0.5:
        y, x = rng.integers(0, side - side // 10, 2)
        picture[y : y + side // 10, x : x + side // 10] = rng.integers(0, 256, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _page(rng: np.random.Generator) -> Picture:
    """Lines of words in Pillow's own font, dark on light or the other way round."""
    side = int(rng.choice([256, 384, 512]))
    size = int(rng.integers(side // 40, side // 9))
    ground, ink = rng.integers(200, 256, 3), rng.integers(0, 90, 3)
    if rng.random() < 0.3:
        ground, ink = ink, ground
    image = Image.new("RGB", (side, int(side * rng.uniform(0.7, 1.3))), tuple(map(int, ground)))
    draw, font, y = ImageDraw.Draw(image), ImageFont.load_default(size), size
    while y < image.height - size:
        line = ""
        while draw.textlength(line, font) < image.width * rng.uniform(0.5, 0.95):
            line = f"{line} {rng.choice(WORDS)}"
        draw.text((size * 0.6, y), line.strip(), tuple(map(int, ink)), font)
        y += int(size * rng.uniform(1.2, 1.5))
    return np.asarray(image)


def _stored(picture: Picture) -> Picture:
    """After JPEG of quality 90."""
    data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def _pixels(photographs: list[Picture]) -> str:
    rng, session = np.random.default_rng(1), PixelsSession()
    kinds: dict[str, Iterable[Picture]] = {
        "photograph": photographs,
        "blurred": (_blurred(photo, rng) for photo in photographs),
        "framed": (_framed(photo, rng) for photo in photographs),
        "blank": (_blank(rng) for _ in range(DRAWN)),
        "page": (_page(rng) for _ in range(DRAWN)),
    }
    measured = {
        kind: [session.prepare(_stored(picture)) for picture in pictures]
        for kind, pictures in kinds.items()
    }
    lines = []
    for name, (kind, text, rule) in RULES.items():
        cells = [(rule(one), kind == own) for own in (kind, "photograph") for one in measured[own]]
        found = Confusion.of([answer for answer, _ in cells], [truth for _, truth in cells])
        lines.append([name, f"`{text}`", kind, found.recall(), found.alarm_rate()])
    return table(["measure", "rule", "is to find", "recall", "false alarms, photographs"], lines)


def _nsfw(photographs: list[Picture]) -> str:
    model = load_nsfw()
    scores = np.concatenate(
        [model.score(photographs[i : i + 32]) for i in range(0, len(photographs), 32)]
    )
    lines = [
        [f"`punsafe > {limit}`", percent(int((scores > limit).sum()), len(scores))]
        for limit in (0.5, 0.8, 0.95)
    ]
    return table(["rule", "photographs called unsafe"], lines)
