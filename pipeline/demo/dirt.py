"""The demo web on disk: pictures, the list of rows, routes, and the truth about each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo import pictures
from pipeline.demo.kinds import MEMBERS, OPTED_OUT
from pipeline.demo.phrases import VOCABULARY
from pipeline.demo.pictures import Picture
from pipeline.demo.plan import FULL_SIZE, Plan, Row, make_plan
from pipeline.demo.web import write_site
from pipeline.words.processes import spawning

Progress = Callable[[int, int], None]
"""Called with the number of pictures drawn so far and the number of all."""

_VERSION = 2
"""Raised when the same seed no longer gives the same world, so that old folders are replaced."""
_CHUNK = 8

TRUTH = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("reason", pa.string()),
        ("kind", pa.string()),
        ("of", pa.string()),
        ("times", pa.int32()),
    ]
)
"""`truth.parquet`: one row per distinct (url, caption). `reason` is null where the row should be
kept, `of` the uid of a repeat's original, `times` how often the input lists the row."""


def make_world(
    folder: Path,
    base_url: str,
    seed: int = 0,
    n: int = FULL_SIZE,
    progress: Progress | None = None,
    *,
    sides: tuple[int, int] = (200, 400),
    processes: int = 2,
) -> Path:
    """Make the demo web of `n` input rows in `folder`, for `base_url`; returns `folder`.

    Writes `www/` (the pictures), `rows.parquet` (url, caption, source), `truth.parquet` (`TRUTH`),
    `vocabulary.txt`, `opted-out.txt` and `site.json`. `sides` bounds the pictures' sides in pixels.
    What a folder holds already for the same arguments is not made again; for another `base_url`
    nothing is drawn again.
    ValueError if `n` is too small to have clean rows in addition to the faulty ones.
    """
    recipe = {"version": _VERSION, "seed": seed, "n": n, "sides": list(sides)}
    lists = {**recipe, "base_url": base_url}
    drawn, listed = folder / "pictures.json", folder / "world.json"
    if _reads(drawn, recipe) and _reads(listed, lists):
        return folder
    plan = make_plan(base_url, seed, n, sides)
    listed.unlink(missing_ok=True)
    if not _reads(drawn, recipe):
        drawn.unlink(missing_ok=True)
        _draw(plan.pictures, folder / "www", processes, progress)
        _write(drawn, json.dumps(recipe))
    write_lists(plan, folder)
    _write(listed, json.dumps(lists))
    return folder


def write_lists(plan: Plan, folder: Path) -> None:
    """Write all but the pictures."""
    rows = [plan.rows[number] for number in plan.order]
    names = ("url", "caption", "source")
    _write_table(
        pa.table({name: pa.array([getattr(r, name) for r in rows], pa.string()) for name in names}),
        folder / "rows.parquet",
    )
    _write_table(_truth(plan.rows), folder / "truth.parquet")
    words = "\n".join(VOCABULARY)
    _write(folder / "vocabulary.txt", f"# Brand words that no caption should use.\n{words}\n")
    _write(folder / "opted-out.txt", f"# Domains that asked us not to fetch.\n{OPTED_OUT}\n")
    (folder / "www").mkdir(exist_ok=True)
    _write(folder / "www" / "robots.txt", f"User-agent: *\nDisallow: /{MEMBERS}/\n")
    write_site(folder, plan.routes)


def _truth(rows: Sequence[Row]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in TRUTH.names}
    return pa.table(columns, schema=TRUTH)


def _draw(todo: Sequence[Picture], folder: Path, processes: int, progress: Progress | None) -> None:
    chunks = [(todo[i : i + _CHUNK], folder) for i in range(0, len(todo), _CHUNK)]
    done = 0

    def advance(drawn: int) -> None:
        nonlocal done
        done += drawn
        if progress is not None:
            progress(done, len(todo))

    if processes <= 1:
        for chunk in chunks:
            advance(_draw_chunk(chunk))
        return
    with ProcessPoolExecutor(
        processes, spawning(), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        for drawn in pool.map(_draw_chunk, chunks):
            advance(drawn)


def _draw_chunk(job: tuple[Sequence[Picture], Path]) -> int:
    chunk, folder = job
    for picture in chunk:
        pictures.write(picture, folder)
    return len(chunk)


def _reads(file: Path, recipe: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(file.read_text()) == recipe)
    except (FileNotFoundError, ValueError):
        return False


def _write(file: Path, text: str) -> None:
    scratch = file.with_name(f"{file.name}.tmp")
    scratch.write_text(text)
    scratch.replace(file)


def _write_table(table: pa.Table, file: Path) -> None:
    scratch = file.with_name(f"{file.name}.tmp")
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(file)
