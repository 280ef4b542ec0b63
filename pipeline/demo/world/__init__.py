"""A drawn world of subjects, materials and places, with captions: pictures whose truth is known."""

from pipeline.demo.world.captions import (
    GRAPHIC_CAPTION,
    N_TEMPLATES,
    PLACE_PHRASES,
    caption,
    parse_caption,
)
from pipeline.demo.world.draw import draw
from pipeline.demo.world.graphic import draw_graphic
from pipeline.demo.world.many import draw_many
from pipeline.demo.world.materials import MATERIALS
from pipeline.demo.world.places import PLACES
from pipeline.demo.world.scene import HELD_OUT, Scene, all_scenes, random_scene
from pipeline.demo.world.subjects import SUBJECTS

__all__ = [
    "GRAPHIC_CAPTION",
    "HELD_OUT",
    "MATERIALS",
    "N_TEMPLATES",
    "PLACES",
    "PLACE_PHRASES",
    "SUBJECTS",
    "Scene",
    "all_scenes",
    "caption",
    "draw",
    "draw_graphic",
    "draw_many",
    "parse_caption",
    "random_scene",
]
