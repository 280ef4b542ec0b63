"""Captions of scenes, and back."""

from __future__ import annotations

import re

from pipeline.demo.world.materials import MATERIALS
from pipeline.demo.world.scene import Scene
from pipeline.demo.world.subjects import SUBJECTS

PLACE_PHRASES: dict[str, str] = {
    "hill": "on a hill",
    "sea": "in the sea",
    "desert": "in the desert",
    "night": "under a night sky",
    "forest": "in a forest",
    "snow": "in the snow",
}
TEMPLATES: tuple[str, ...] = (
    "{a_subject} made of {material} {place}",
    "{a_material} {subject} {place}",
    "a picture of {a_subject} made of {material} {place}",
    "{place}, {a_subject} made of {material}",
    "{a_subject} of {material} {place}",
    "a small picture of {a_material} {subject} {place}",
    "{a_subject} {place}, all made of {material}",
    "we saw this {material} {subject} {place} today",
)
N_TEMPLATES: int = len(TEMPLATES)
GRAPHIC_CAPTION: str = "a graphic warning picture"


def with_article(noun: str) -> str:
    """ "a cat", "an elephant"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def caption(scene: Scene, template: int = 0) -> str:
    """The scene in words, by one of `N_TEMPLATES` templates; IndexError beyond them."""
    return TEMPLATES[template].format(
        subject=scene.subject,
        a_subject=with_article(scene.subject),
        material=scene.material,
        a_material=with_article(scene.material),
        place=PLACE_PHRASES[scene.place],
    )


def parse_caption(text: str) -> Scene | None:
    """The scene that a caption names, whatever its template; None unless it names just one."""
    words = re.findall(r"[a-z]+", text.lower())
    joined = " ".join(words)
    subjects = [s for s in SUBJECTS if s in words]
    materials = [m for m in MATERIALS if m in words]
    places = [p for p, phrase in PLACE_PHRASES.items() if phrase in joined]
    if len(subjects) == len(materials) == len(places) == 1:
        return Scene(subjects[0], materials[0], places[0])
    return None
