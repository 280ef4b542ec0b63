"""What a picture of the drawn world shows, and which compositions are kept from every training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.demo.world.materials import MATERIALS
from pipeline.demo.world.places import PLACES
from pipeline.demo.world.subjects import SUBJECTS

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("kangaroo", "cheese"),
        ("giraffe", "brick"),
        ("cat", "ice"),
        ("fish", "wood"),
        ("ship", "grass"),
        ("rabbit", "gold"),
        ("elephant", "wool"),
        ("duck", "stone"),
    }
)
"""(subject, material) pairs that no training picture shows; each half is shown with others."""


@dataclass(frozen=True)
class Scene:
    """One subject, of one material, in one place."""

    subject: str
    material: str
    place: str

    @property
    def held_out(self) -> bool:
        """Whether its composition is kept from training."""
        return (self.subject, self.material) in HELD_OUT


def all_scenes() -> tuple[Scene, ...]:
    """Every scene, held out or not: subjects outermost, places innermost."""
    return tuple(Scene(s, m, p) for s in SUBJECTS for m in MATERIALS for p in PLACES)


def random_scene(rng: np.random.Generator, held_out: bool | None = False) -> Scene:
    """A scene at random: from training (False), from the held-out ones (True), or any (None)."""
    while True:
        scene = Scene(
            SUBJECTS[rng.integers(len(SUBJECTS))],
            MATERIALS[rng.integers(len(MATERIALS))],
            PLACES[rng.integers(len(PLACES))],
        )
        if held_out is None or scene.held_out == held_out:
            return scene
