"""The report's charts, as Bokeh's JSON: histograms with thresholds, and the training loss."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter, VSpan
from bokeh.plotting import figure

from pipeline.inspect.plain import number
from pipeline.inspect.report.histograms import Histogram

KEPT, OTHER, INK, FAINT = "#0f766e", "#d97706", "#1f2933", "#e4e7eb"
HEIGHT = 210
LOG_FLOOR = 0.5
"""Where logarithmic bars start: below one row."""
STEEP = 10
"""The tallest bar over the tallest beyond a threshold from which counts are logarithmic."""
LOW = 0.01
"""Bars below this share of the tallest cannot be seen; if a third are, counts are logarithmic."""


def _figure(description: str, **options: Any) -> Any:
    plot = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        min_border_right=14,
        **options,
    )
    plot.name = description
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        axis.axis_line_color = "#9aa5b1"
        axis.major_tick_line_color = "#9aa5b1"
        axis.minor_tick_line_color = None
        axis.major_label_text_color = "#52606d"
        axis.major_label_text_font_size = "11px"
        axis.major_label_text_font = "system-ui, sans-serif"
    plot.xgrid.grid_line_color = None
    plot.ygrid.grid_line_color = FAINT
    return plot


def is_steep(histogram: Histogram) -> bool:
    """Whether linear bars would hide one side of a threshold, or much of the spread."""
    heights = [k + o for k, o in zip(histogram.kept, histogram.other, strict=True)]
    middles = [(a + b) / 2 for a, b in zip(histogram.edges, histogram.edges[1:], strict=False)]
    tallest = max(heights, default=0)
    for at, _ in histogram.lines:
        below = max((h for h, x in zip(heights, middles, strict=True) if x < at), default=0)
        above = max((h for h, x in zip(heights, middles, strict=True) if x >= at), default=0)
        if 0 < min(below, above) * STEEP < tallest:
            return True
    filled = [height for height in heights if height]
    return sum(height < LOW * tallest for height in filled) * 3 > len(filled)


def histogram_item(histogram: Histogram) -> Mapping[str, Any]:
    """Kept rows, and the others on top of them; a dashed line where a rule divides."""
    steep = is_steep(histogram)
    options: dict[str, Any] = {"x_axis_type": "log" if histogram.log_x else "linear"}
    if steep:
        tallest = max(k + o for k, o in zip(histogram.kept, histogram.other, strict=True))
        options |= {"y_axis_type": "log", "y_range": (LOG_FLOOR, 2 * tallest)}
    plot = _figure(histogram.column, **options)
    floor = LOG_FLOOR if steep else 0
    pairs = list(zip(histogram.kept, histogram.other, strict=True))
    edges = histogram.edges
    bars = [
        {
            "left": edges[i], "right": edges[i + 1], "kept": kept, "other": other,
            "all": kept + other, "floor": floor, "middle": max(kept, floor),
            "range": f"{number(edges[i])} – {number(edges[i + 1])}",
        }
        for i, (kept, other) in enumerate(pairs)
        if kept or other
    ]  # fmt: skip
    source = ColumnDataSource({key: [bar[key] for bar in bars] for key in bars[0]} if bars else {})
    style = {"line_color": "white", "line_width": 0.5, "source": source}
    plot.quad(left="left", right="right", bottom="floor", top="middle", fill_color=KEPT, **style)
    plot.quad(left="left", right="right", bottom="middle", top="all", fill_color=OTHER, **style)
    if not steep:
        plot.y_range.start = 0
        plot.yaxis.ticker = BasicTicker(min_interval=1)
    if histogram.whole and not histogram.log_x:
        plot.xaxis.ticker = BasicTicker(min_interval=1)
    plot.add_tools(
        HoverTool(
            renderers=[plot.renderers[0], plot.renderers[1]],
            tooltips=[("", "@range"), ("kept", "@kept{0,0}"), ("not kept", "@other{0,0}")],
        )
    )
    for at, _ in histogram.lines:
        plot.add_glyph(VSpan(x=at, line_color=INK, line_dash=[5, 4], line_width=1.5))
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    plot.xaxis.formatter = NumeralTickFormatter(format=_format(edges[0], edges[-1]))
    return _item(plot)


def _format(low: float, high: float) -> str:
    if max(abs(low), abs(high)) >= 1_000:
        return "0.[0]a"
    return "0.[000]" if high - low < 20 else "0"


def loss_item(steps: Sequence[int], losses: Sequence[float]) -> Mapping[str, Any]:
    """The training loss over optimizer updates."""
    plot = _figure("training loss")
    source = ColumnDataSource({"step": list(steps), "loss": list(losses)})
    line = plot.line("step", "loss", source=source, line_width=2, line_color=KEPT)
    plot.scatter("step", "loss", source=source, size=4, color=KEPT)
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            tooltips=[("update", "@step{0,0}"), ("loss", "@loss{0.0000}")],
        )
    )
    plot.y_range.start = 0
    return _item(plot)


def _item(plot: Any) -> Mapping[str, Any]:
    item: Mapping[str, Any] = json_item(plot)
    return item
