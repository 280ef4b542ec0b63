"""Blur, flatness, margins, one colour and text, from the pixels alone; a job's `measure.pixels`."""

from typing import Any

import pyarrow as pa

from pipeline.config.job import Rule
from pipeline.config.sections import MeasureConfig
from pipeline.measure.pictures import pixel_measures as measures
from pipeline.measure.stage import Measured, PictureStage
from pipeline.table.columns import Column


class PixelsConfig(MeasureConfig):
    """Measures of the pixels that need no model; all are shares, 0–1.

    Switch them on by `measure: {pixels: {}}`. The default rule drops what is nearly of one colour,
    with the reason `near_blank`; for the rest write rules of your own, such as `blur > 0.5`,
    `text_share > 0.4` or `border_top + border_bottom > 0.1`. How often they are right is in
    docs/quality.md: `text_share` also rises on fences, foliage against the sky and line drawings.
    """


class PixelsSession:
    """Measures a picture where it is decoded."""

    def prepare(self, rgb: measures.RGB) -> dict[str, float | None]:
        import cv2

        small = measures.scaled(rgb)
        grey: Any = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        margins = measures.margins(small)
        return {
            "blur": measures.blur(measures.inside(grey, margins)),
            "flat_share": measures.flat_share(grey),
            "one_colour_share": measures.one_colour_share(small),
            "text_share": measures.text_share(grey),
            **{f"border_{side}": share for side, share in margins._asdict().items()},
        }

    def measure(self, items: list[dict[str, Any]], rows: pa.Table) -> Measured:
        return Measured({name: [item[name] for item in items] for name in items[0]})


class PixelsStage(PictureStage):
    """Shares of the picture, scaled down to at most 256 pixels a side."""

    name = "pixels"
    rank = 22
    step = "Picture content rules"
    packages = ("opencv-python-headless",)
    Config = PixelsConfig

    @property
    def reads(self) -> tuple[str, ...]:
        return ("status",)

    @property
    def writes(self) -> tuple[Column, ...]:
        texts = {
            "blur": "0 sharp, 1 as blurred as can be, without the margins (Crété-Roffet et al., "
            "2007); null if there is no edge.",
            "flat_share": "Share of pixels around which 5×5 pixels differ by at most 12 levels.",
            "one_colour_share": "Share of pixels within 12 levels of the commonest colour.",
            "text_share": "Share of the picture that looks like lines of text.",
            "border_top": "Share of the height, from the top, that is of the edge's colour; 1 for "
            "a picture of one colour.",
            "border_bottom": "The same from the bottom.",
            "border_left": "Share of the width, from the left, that is of the edge's colour.",
            "border_right": "The same from the right.",
        }
        return tuple(Column(name, pa.float32(), text) for name, text in texts.items())

    def default_rules(self) -> tuple[Rule, ...]:
        return (Rule(reason="near_blank", when="one_colour_share > 0.98"),)

    def session(self) -> PixelsSession:
        return PixelsSession()
