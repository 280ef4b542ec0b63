"""The kinds of rows that the demo web holds, and what should become of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.demo import phrases
from pipeline.demo.pictures import Change, Format
from pipeline.demo.web import Route
from pipeline.demo.world import N_TEMPLATES, Scene, caption, random_scene

Rng = np.random.Generator
MEMBERS = "members"
"""The folder that the demo site's robots.txt closes to all crawlers."""
OPTED_OUT = "opted-out.example"
"""A domain that opted out."""


@dataclass(frozen=True)
class Kind:
    """One kind of row.

    `reason` is the expected reason, None if the row should be kept. `count` is for 2,000 input
    rows; 0 means: all the rest. `caption` and `url` make the row's caption and URL from the true
    caption and the path, `route` says how the server answers (a `Location` of `{elsewhere}` leads
    to the picture, `{self}` back to itself), `change` how the picture is altered, `source` the site
    of most of its rows, `place` the folder of its URL if that is another.
    """

    name: str
    reason: str | None
    count: int
    caption: Callable[[str, Scene, Rng], str | None] | None = None
    url: Callable[[str, Rng], str | None] | None = None
    route: Callable[[Rng], Route] | None = None
    change: Change = "none"
    form: Format | None = None
    repeats: bool = False
    graphic: bool = False
    source: str | None = None
    place: str | None = None


def _dressed(choices: tuple[str, ...]) -> Callable[[str, Scene, Rng], str]:
    return lambda text, scene, rng: phrases.dress(text, choices, rng)


def _of_another(text: str, scene: Scene, rng: Rng) -> str:
    other = scene
    while other == scene:
        other = random_scene(rng)
    return caption(other, int(rng.integers(N_TEMPLATES)))


def _blank(text: str, scene: Scene, rng: Rng) -> str | None:
    return (None, "", " ")[rng.integers(3)]


def _answer(status: int, **headers: str) -> Callable[[Rng], Route]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda rng: Route(status, headers=named)


def _tagged(*tags: str) -> Callable[[Rng], Route]:
    return lambda rng: Route(headers={"X-Robots-Tag": str(rng.choice(tags))})


def _elsewhere(*hosts: str) -> Callable[[str, Rng], str]:
    return lambda path, rng: str(rng.choice(hosts)) + path


def _no_url(path: str, rng: Rng) -> str | None:
    return (None, "", " ")[rng.integers(3)]


def _one_of(*status: int) -> Callable[[Rng], Route]:
    return lambda rng: Route(int(rng.choice(status)))


_KINDS = (
    Kind("clean", None, 0),
    Kind("listed_again", None, 40),
    # To be kept, though they look suspicious.
    Kind("turned", None, 20, change="turned", form="jpg"),
    Kind("redirected", None, 24, route=_answer(302, Location="{elsewhere}")),
    Kind("busy_once", None, 12,
         route=lambda rng: Route(503, headers={"Retry-After": "0"}, fails=1)),
    Kind("harmless_tag", None, 20, source="gallery",
         route=_tagged("max-image-preview:large", "noarchive", "otherbot: noai", "all")),
    Kind("lookalike", None, 24, caption=_dressed(phrases.LOOKALIKES)),
    # Captions.
    Kind("insult", "toxic_caption", 36, caption=_dressed(phrases.INSULTS), source="forum"),
    Kind("veiled_insult", "toxic_caption", 5, caption=_dressed(phrases.VEILED_INSULTS),
         source="forum"),
    Kind("email", "pii", 20, caption=_dressed(phrases.EMAILS), source="shop"),
    Kind("phone", "pii", 20, caption=_dressed(phrases.PHONES), source="shop"),
    Kind("branded", "vocabulary", 24, caption=_dressed(phrases.BRANDED), source="shop"),
    Kind("other_language", "caption_language", 40,
         caption=lambda text, scene, rng: phrases.translate_any(scene, rng)),
    Kind("short", "caption_short", 24, caption=_dressed(phrases.SHORT)),
    Kind("stuffed", "caption_long", 20, source="shop",
         caption=lambda text, scene, rng: phrases.stuff(text, rng)),
    Kind("endless_caption", "caption_oversize", 4,
         caption=lambda text, scene, rng: f"{text}, " * 4_000),
    Kind("no_caption", "caption_missing", 10, caption=_blank),
    Kind("of_another_picture", "low_clip_score", 60, caption=_of_another),
    # URLs.
    Kind("no_url", "url_missing", 10, url=_no_url),
    Kind("other_scheme", "scheme_forbidden", 20,
         url=_elsewhere("ftp://files.example.com", "file://", "data:image/jpeg;base64,")),
    Kind("broken_url", "url_invalid", 10, url=_elsewhere("http://", "https://:80", "http://[::1")),
    Kind("private_address", "address_forbidden", 20, url=_elsewhere(
        "http://127.0.0.2", "http://10.0.0.1", "http://192.168.1.1:8080", "http://169.254.169.254",
        "http://[::1]", "http://0.0.0.0")),
    Kind("refused", "connection_failed", 10, url=_elsewhere("http://127.0.0.1:1")),
    # The server's answers.
    Kind("dead", "http_not_found", 24, route=_answer(404)),
    Kind("gone", "http_not_found", 12, route=_answer(410)),
    Kind("paywalled", "http_forbidden", 20, route=_one_of(401, 403, 451)),
    Kind("busy", "http_rate_limited", 12, route=_answer(429, Retry_After="0")),
    Kind("crashed", "http_server_error", 20, route=_one_of(500, 502, 503)),
    Kind("late", "timeout", 10, route=lambda rng: Route(delay=30)),
    Kind("dripping", "timeout", 10, route=lambda rng: Route(drip=200)),
    Kind("cut_off", "http_malformed", 20,
         route=lambda rng: Route(cut=float(rng.uniform(0.1, 0.9)))),
    Kind("in_a_loop", "redirect_limit", 20, route=_answer(301, Location="{self}")),
    Kind("redirected_inside", "address_forbidden", 10,
         route=_answer(302, Location="http://169.254.169.254/latest/meta-data/")),
    Kind("opted_out", "opted_out_robots_tag", 24, source="gallery", route=_tagged(
        "noai", "noimageai", "noai, noimageai", "max-image-preview:large, noai", "none", "noindex",
        "winnow: noai")),
    Kind("reserved", "opted_out_tdm", 12, source="gallery",
         route=_answer(200, TDM_Reservation="1")),
    Kind("members_only", "opted_out_robots_txt", 16, place=MEMBERS),
    Kind("listed_domain", "opted_out_domain", 10, url=_elsewhere(
        f"http://{OPTED_OUT}", f"https://pictures.{OPTED_OUT}")),
    # The pictures' bytes.
    Kind("page", "not_an_image", 20, change="html", form="jpg"),
    Kind("truncated", "decode_error", 20, change="truncated", form="jpg"),
    Kind("heavy", "too_large", 20, change="huge", form="png"),
    Kind("tiny", "image_too_small", 20, change="tiny"),
    Kind("strip", "image_aspect_ratio", 20, change="strip", source="shop"),
    Kind("small", "low_resolution", 20, change="small"),
    # What the pictures show.
    Kind("graphic", "graphic", 40, graphic=True, source="forum"),
    Kind("same_bytes", "duplicate", 30, repeats=True),
    Kind("resized", "duplicate", 30, repeats=True, change="resized"),
    Kind("recompressed", "duplicate", 30, repeats=True, change="recompressed"),
    Kind("cropped", "duplicate", 30, repeats=True, change="cropped"),
    Kind("recoloured", "duplicate", 20, repeats=True, change="recoloured"),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
