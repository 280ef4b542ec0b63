"""The page: a template, its style and script, and a policy that lets nothing else in."""

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from pipeline.inspect.plain import number, rows
from pipeline.words.sizes import size

HERE = Path(__file__).parent
_CHARTS = "charts"


def render(page: Mapping[str, Any]) -> str:
    """The HTML. Every value is escaped; scripts run only if they are ours, by their sha256."""
    charts, targets = _charts(page)
    # Bokeh's own script, and ours; both are constant, so their hashes name them.
    library = Resources(mode="inline", components=["bokeh"], minified=True).js_raw
    scripts = [text for text in (*library, _read("page.js")) if text.strip()]
    return template().render(
        **page,
        rows=rows,
        targets=targets,
        charts=Markup(htmlsafe_json_dumps(charts)),  # noqa: S704 - made safe for a script element
        scripts=[Markup(text) for text in scripts],  # noqa: S704 - Bokeh's file and page.js
        style=Markup(_read("page.css")),  # noqa: S704 - our own file
        policy=policy(scripts),
    )


@lru_cache(maxsize=1)
def template() -> Template:
    """The compiled page."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "size": size, "pct": percent, "ticks": ticks}
    return environment.get_template("page.html")


def policy(scripts: list[str]) -> str:
    """A Content-Security-Policy: no network at all, and no script but these."""
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def ticks(text: str) -> Markup:
    """Text whose words between backticks become code; everything is escaped."""
    words = text.split("`")
    pairs = (
        escape(w) if i % 2 == 0 else Markup("<code>{}</code>").format(w)
        for i, w in enumerate(words)
    )
    return Markup("").join(pairs)


def percent(share: float) -> str:
    """A share for the eye: small ones are not rounded away."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.1f} %"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _charts(page: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Bokeh items by the id of the element that they fill; ids by what they show."""
    charts: dict[str, Any] = {}
    targets: dict[str, str] = {}
    shown = [(h["column"], h["item"]) for h in (*page["histograms"], *page["more_histograms"])]
    if page["loss"]:
        shown.append(("training loss", page["loss"]))
    for i, (name, item) in enumerate(shown):
        targets[name] = f"chart-{i}"
        charts[targets[name]] = item
    return charts, targets
