"""Many pictures at once, drawn by several processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np

from pipeline.demo.world.canvas import Pixels
from pipeline.demo.world.draw import draw
from pipeline.demo.world.scene import Scene, random_scene
from pipeline.words.interrupts import processes_of_ours
from pipeline.words.processes import spawning

_CHUNK = 250


def draw_many(
    count: int,
    seed: int,
    held_out: bool | None = False,
    size: int = 64,
    processes: int = 1,
) -> tuple[Pixels, list[Scene]]:
    """Random scenes and their pictures, uint8 of shape (count, size, size, 3).

    `held_out` as for `random_scene`. The result does not depend on `processes`.
    """
    sizes = [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    jobs = [(n, s, held_out, size) for n, s in zip(sizes, seeds, strict=True)]
    if processes <= 1 or len(jobs) <= 1:
        chunks = [_chunk(job) for job in jobs]
    else:
        with (
            processes_of_ours(),
            ProcessPoolExecutor(
                processes, spawning(), initializer=cv2.setNumThreads, initargs=(1,)
            ) as pool,
        ):
            chunks = list(pool.map(_chunk, jobs))
    if not chunks:
        return np.empty((0, size, size, 3), np.uint8), []
    pixels = np.concatenate([chunk[0] for chunk in chunks])
    return pixels, [scene for chunk in chunks for scene in chunk[1]]


def _chunk(
    job: tuple[int, np.random.SeedSequence, bool | None, int],
) -> tuple[Pixels, list[Scene]]:
    count, seed, held_out, size = job
    rng = np.random.default_rng(seed)
    pixels = np.empty((count, size, size, 3), np.uint8)
    scenes = [random_scene(rng, held_out) for _ in range(count)]
    for i, scene in enumerate(scenes):
        pixels[i] = draw(scene, rng, size)
    return pixels, scenes
