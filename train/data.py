"""An export folder as batches, in an order that a step number alone determines."""

from __future__ import annotations

import json
import random
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.table.checked import damaged_files
from pipeline.table.storage import Folder
from pipeline.words.errors import InputError
from pipeline.words.heartbeat import beat

IMAGE_KEYS = ("jpg", "jpeg", "png", "webp")
SHUFFLE_BUFFER = 5000


class Batch(NamedTuple):
    """Pictures uint8 RGB (N, H, W, 3), and their captions."""

    pictures: np.ndarray
    captions: list[str]


class Encoded(NamedTuple):
    """A sample as its shard holds it; `place` is `shard:key`, for error messages."""

    place: str
    picture: bytes
    caption: str
    captions: tuple[str, ...] = ()
    """All captions of the picture, if an export has merged those of its copies."""

    def drawn(self, seed: int, epoch: int) -> str:
        """The caption, or one of several, the same for the same seed, epoch and key."""
        if len(self.captions) < 2:
            return self.caption
        key = self.place.rpartition(":")[2]
        return random.Random(f"{seed}/{epoch}/{key}").choice(self.captions)


@dataclass(frozen=True)
class Export:
    """A checked export: its shards in order, the number of rows, and its fingerprint."""

    folder: Path
    shards: tuple[Path, ...]
    rows: int
    fingerprint: str


def open_export(folder: Path) -> Export:
    """Read `manifest.json` (`fingerprint`, `shards`: [{`tar`, `rows`, `bytes`}]); check its shards.

    Raises InputError for a missing or malformed manifest, a missing shard, or no rows.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{path} is missing, so {folder} is no finished export; run `winnow run`")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        listed = manifest["shards"]
        shards = [(folder / entry["tar"], int(entry["rows"])) for entry in listed]
        sizes = [entry.get("bytes") for entry in listed]
        fingerprint = str(manifest["fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); export again"
        ) from error
    for (shard, _), size in zip(shards, sizes, strict=True):
        if not shard.is_file():
            raise InputError(f"{shard} is listed in {path} but missing; export again")
        if size is not None and shard.stat().st_size != size:
            found = shard.stat().st_size
            raise InputError(f"{shard} has {found} bytes, {path} says {size}; export again")
    sums = {one["tar"]: one["sha256"] for one in listed if "sha256" in one}
    if (tar := next(damaged_files(Folder(folder), sums), None)) is not None:
        raise InputError(
            f"{folder / tar} was changed from outside: {path} has another sha256; "
            "`winnow verify RUN --mend` makes it again"
        )
    rows = sum(n for _, n in shards)
    if rows == 0:
        raise InputError(f"{path} lists no rows: every sample was dropped; see `winnow stats`")
    return Export(folder, tuple(shard for shard, n in shards if n), rows, fingerprint)


def read_shards(shards: Iterable[Path]) -> Iterator[Encoded]:
    """The samples of WebDataset tars, in file order, not decoded.

    Raises InputError at a broken tar, or a sample without a picture or a caption.
    """
    import webdataset as wds

    for shard in shards:
        try:
            for sample in wds.WebDataset(str(shard), shardshuffle=False, empty_check=False):
                place = f"{shard}:{sample['__key__']}"
                picture = next((sample[key] for key in IMAGE_KEYS if key in sample), None)
                if picture is None or "txt" not in sample:
                    raise InputError(f"{place} lacks a picture or a .txt caption; export again")
                caption = sample["txt"].decode("utf-8").strip()
                yield Encoded(place, picture, caption, _captions(sample.get("json", b"")))
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            raise InputError(f"{shard} cannot be read ({error}); export again") from error


def _captions(row: bytes) -> tuple[str, ...]:
    if b'"captions"' not in row:
        return ()
    found = json.loads(row).get("captions")
    is_list = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if is_list else ()  # a column of this name in a list of other rows


def decode(sample: Encoded, resolution: int) -> np.ndarray:
    """uint8 RGB (resolution, resolution, 3): shorter side resized, centre cut out."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(sample.picture, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{sample.place} holds no picture that can be decoded; export again")
    h, w = bgr.shape[:2]
    scale = resolution / min(h, w)
    size = (max(resolution, round(w * scale)), max(resolution, round(h * scale)))
    if size != (w, h):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        bgr = cv2.resize(bgr, size, interpolation=method)
    top, left = (size[1] - resolution) // 2, (size[0] - resolution) // 2
    cut = bgr[top : top + resolution, left : left + resolution]
    return np.ascontiguousarray(cut[:, :, ::-1])


def decoded(
    samples: Iterable[Encoded], resolution: int, threads: int
) -> Iterator[tuple[np.ndarray, Encoded]]:
    """Decode on threads, in order, holding a bounded window; samples come without their files."""
    with ThreadPoolExecutor(threads) as pool:
        window: deque[tuple[Future[np.ndarray], Encoded]] = deque()
        try:
            for sample in samples:
                beat()
                left = sample._replace(picture=b"")
                window.append((pool.submit(decode, sample, resolution), left))
                if len(window) > 16 * threads:
                    future, left = window.popleft()
                    yield future.result(), left
            for future, left in window:
                yield future.result(), left
        finally:
            for future, _ in window:
                future.cancel()


def batches(
    export: Export,
    *,
    resolution: int,
    batch_size: int,
    seed: int,
    skip: int = 0,
    threads: int = 2,
    cache_mib: int = 512,
) -> Iterator[Batch]:
    """Endless batches; epochs follow each other without a gap, each in its own seeded order.

    `skip` batches are skipped without decoding: a run resumed at batch k gets the same batches as
    an uninterrupted one.
    """
    fits = export.rows * resolution**2 * 3 <= cache_mib * 2**20
    source = _cached if fits else _streamed
    samples = source(export, resolution, seed, skip * batch_size, threads)
    while chunk := list(islice(samples, batch_size)):
        yield Batch(np.stack([picture for picture, _ in chunk]), [text for _, text in chunk])


def _cached(
    export: Export, resolution: int, seed: int, skip: int, threads: int
) -> Iterator[tuple[np.ndarray, str]]:
    rows = list(decoded(read_shards(export.shards), resolution, threads))
    _check_rows(export, len(rows))
    position = skip
    while True:
        epoch, offset = divmod(position, len(rows))
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        for i in order[offset:]:
            picture, sample = rows[i]
            yield picture, sample.drawn(seed, epoch)
            position += 1


def _streamed(
    export: Export, resolution: int, seed: int, skip: int, threads: int
) -> Iterator[tuple[np.ndarray, str]]:
    def encoded() -> Iterator[Encoded]:
        epoch, offset = divmod(skip, export.rows)
        while True:
            for sample in islice(_one_epoch(export, seed, epoch), offset, None):
                yield sample._replace(caption=sample.drawn(seed, epoch))
            epoch, offset = epoch + 1, 0

    for picture, sample in decoded(encoded(), resolution, threads):
        yield picture, sample.caption


def _one_epoch(export: Export, seed: int, epoch: int) -> Iterator[Encoded]:
    """Shards in a seeded order, samples through webdataset's seeded shuffle buffer."""
    import webdataset as wds

    rng = random.Random(f"{seed}/{epoch}")
    shards = rng.sample(export.shards, len(export.shards))
    count = 0
    shuffle: Any = wds.filters.shuffle(SHUFFLE_BUFFER, initial=SHUFFLE_BUFFER, rng=rng)
    for sample in shuffle(read_shards(shards)):
        count += 1
        yield sample
    _check_rows(export, count)


def _check_rows(export: Export, found: int) -> None:
    if found != export.rows:
        raise InputError(
            f"{export.folder}/manifest.json says {export.rows} rows, its shards hold {found}; "
            "export again"
        )
