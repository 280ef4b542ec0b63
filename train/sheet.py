"""A labelled sheet of the best pictures of one prompt."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.rerank import Candidate

CELL = 288
GAP = 18
LABEL = 34
_INK, _FAINT, _PAPER = (28, 28, 32), (112, 112, 120), (252, 252, 250)


def enlarge(picture: np.ndarray, side: int = CELL) -> Image.Image:
    """A square picture, uint8 RGB, at `side` pixels: small ones smoothly, large ones reduced."""
    return Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)


def draw_sheet(path: Path, title: str, subtitle: str, best: Sequence[Candidate]) -> None:
    """Write a PNG of the candidates in their order, best first, three to a row.

    Rank, score and seed are written under each. Without candidates the sheet says so.
    """
    columns = max(1, min(3, len(best)))
    rows = math.ceil(len(best) / columns)
    width = max(3, columns) * (CELL + GAP) + GAP
    title_font, font = ImageFont.load_default(22), ImageFont.load_default(14)
    lines = textwrap.wrap(title, width=int(width / 12)) or [title]
    head = GAP + 30 * len(lines) + 28
    sheet = Image.new("RGB", (width, head + max(1, rows) * (CELL + LABEL) + GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        pen.text((GAP, GAP + 30 * i), line, font=title_font, fill=_INK)
    pen.text((GAP, head - 26), subtitle, font=font, fill=_FAINT)
    if not best:
        pen.text((GAP, head + GAP), "no picture passed the judges", font=font, fill=_INK)
    for i, candidate in enumerate(best):
        x = GAP + (i % columns) * (CELL + GAP)
        y = head + (i // columns) * (CELL + LABEL)
        sheet.paste(enlarge(candidate.picture), (x, y))
        pen.text((x, y + CELL + 6), f"{candidate.rank}", font=font, fill=_INK)
        label = f"score {candidate.score:.3f}   seed {candidate.seed}"
        pen.text((x + 26, y + CELL + 6), label, font=font, fill=_FAINT)
    temporary = path.with_name(path.name + ".tmp")
    sheet.save(temporary, format="PNG")
    temporary.replace(path)
