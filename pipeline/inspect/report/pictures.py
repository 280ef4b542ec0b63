"""Small copies of stored pictures, as data URLs."""

import base64
import io
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO

import fsspec
from PIL import Image

from pipeline.engine.parts import Parts
from pipeline.table.part import shard_name
from pipeline.table.run import Run
from pipeline.table.stores import SMALL

SIDE = 160
"""Longest side of a thumbnail, pixels."""
QUALITY = 78


def thumbnails(
    run: Run, download: Parts | None, places: Collection[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """JPEG data URLs by (shard, row), for the rows that have a stored picture."""
    found: dict[tuple[int, int], str] = {}
    for shard in sorted({shard for shard, _ in places}):
        tar = f"{shard_name(shard)}.tar"
        if download is None or shard not in download.sidecars:
            continue
        if tar not in download.sidecars[shard].files:
            continue
        rows = {row for s, row in places if s == shard}
        with _opened(run, f"{download.folder}/{tar}") as handle:
            for row, data in members(handle, rows):
                small = thumbnail(data)
                if small is not None:
                    found[shard, row] = small
    return found


@contextmanager
def _opened(run: Run, name: str) -> Iterator[IO[bytes]]:
    if not run.folder.is_local and (run.folder.size(name) or 0) <= SMALL:
        yield io.BytesIO(run.folder.read(name))
        return
    fs, root = fsspec.core.url_to_fs(run.folder.url)
    with fs.open(f"{root}/{name}", "rb") as handle:
        yield handle


def members(handle: IO[bytes], rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """The pictures `NNNNNN.jpg` of these rows; reading stops at the last of them."""
    wanted = {f"{row:06d}.jpg": row for row in rows}
    with tarfile.open(fileobj=handle, mode="r:") as tar:
        for member in tar:
            row = wanted.pop(member.name, None)
            source = tar.extractfile(member) if row is not None else None
            if row is not None and source is not None:
                yield row, source.read()
            if not wanted:
                return


def thumbnail(data: bytes, side: int = SIDE) -> str | None:
    """A picture's bytes as a JPEG data URL of at most `side` pixels, or None if it is broken."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.draft("RGB", (side * 2, side * 2))
            small = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
