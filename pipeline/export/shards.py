"""Writes the kept rows in the layout of img2dataset and WebDataset; equal rows give equal bytes.

`00000.tar` holds `{key}.jpg/.txt/.json`, `00000.parquet` the same rows' columns. Keys are nine
digits: the export shard's number and the row's place in it.
"""

import io
import json
import math
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.export.blur import BLURRED, FaceBlur
from pipeline.export.named import caption_of
from pipeline.table.part import digest_of
from pipeline.table.shard import ShardData
from pipeline.table.stored import STORED
from pipeline.words.errors import PartError
from pipeline.words.heartbeat import beat

VERSION = 1
_VERDICT = {"reason", "reasons", "dup_of", "input_error", "fetch_reason", "error_message", "status"}
_SEARCHED = {
    "thumb", "small", "samples", "pixel_hash", "phash_turned", "dup_edges", "dup_checks",
}  # fmt: skip
_LEFT_OUT = _VERDICT | {"audit", "repeats", STORED} | _SEARCHED
"""`repeats` may grow, and makes nothing stale; where a picture lay, and what repeats were searched
by, is of no use to others. Edges also name rows that were dropped."""


@dataclass(frozen=True)
class Slice:
    """The kept rows of one shard from number `start` to `stop` (excluded) of its kept rows."""

    shard: int
    start: int
    stop: int


def slice_rows(kept: Sequence[tuple[int, int]], size: int) -> list[list[Slice]]:
    """Deal the kept rows of shards (`(shard, count)`, in order) into export shards of `size`."""
    shards: list[list[Slice]] = []
    space = 0
    for shard, count in kept:
        start = 0
        while start < count:
            if space == 0:
                shards.append([])
                space = size
            stop = min(count, start + space)
            shards[-1].append(Slice(shard, start, stop))
            space -= stop - start
            start = stop
    return shards


def export_fingerprint(job: Job, fingerprints: Sequence[str]) -> str:
    """Covers the layout's settings and every stage, since every column is written out."""
    settings: dict[str, Any] = {"version": VERSION, "shard_size": job.export.shard_size}
    if blur := FaceBlur.of(job):
        settings["blur_faces"] = blur.recipe()
    return digest_of([settings, list(fingerprints)])


def columns(data: ShardData, binary: bool = False) -> list[str]:
    """Columns of an exported row."""
    return [name for name in data.columns if name not in _LEFT_OUT and (binary or name != "phash")]


def gather(data: ShardData, part: Slice) -> tuple[pa.Table, list[int]]:
    """The slice's rows, with `phash` as hex, and their places in the shard."""
    reasons = data.table("reason")["reason"]
    kept = np.flatnonzero(reasons.is_null().to_numpy(zero_copy_only=False))[part.start : part.stop]
    table = data.table(*columns(data, binary=True)).take(pa.array(kept))
    place = table.column_names.index("phash")
    hexed = pa.array([h.hex() if h else None for h in table["phash"].to_pylist()], pa.string())
    return table.set_column(place, "phash", hexed), kept.tolist()


def write_shard(
    number: int,
    slices: Sequence[tuple[ShardData, Slice]],
    scratch: Path,
    blur: FaceBlur | None = None,
) -> tuple[dict[str, pa.Table], dict[str, Path], int]:
    """One export shard: tables by file name, files by name, and the number of rows.

    If `blur` is given, the pictures hold no face that it knows of, and the tables say how many
    were blurred. The other layouts take their pictures from the tar.
    """
    tables: list[pa.Table] = []
    tar_path = scratch / "shard.tar"
    name, count = f"{number:05d}", 0
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for data, part in slices:
            table, places = gather(data, part)
            keys = [f"{name}{count + i:04d}" for i in range(table.num_rows)]
            count += table.num_rows
            table = table.add_column(0, "key", pa.array(keys, pa.string()))
            table = table.append_column("status", pa.array(["success"] * table.num_rows))
            faces = blur.boxes(table) if blur else []
            if blur:
                table = table.append_column(BLURRED, pa.array(map(len, faces), pa.int32()))
            tables.append(table)
            # Row by row: a shard's pictures together can be gigabytes.
            pictures = _pictures(data, places)
            if blur:
                pictures = map(blur.apply, pictures, faces)
            for row, picture in zip(json_rows(table), pictures, strict=True):
                beat()
                _add(tar, f"{row['key']}.jpg", picture)
                _add(tar, f"{row['key']}.txt", caption_of(row).encode())
                text = json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
                _add(tar, f"{row['key']}.json", text.encode())
    stats, whole = scratch / "stats.json", pa.concat_tables(tables)
    stats.write_text(json.dumps(shard_stats(whole), indent=1), encoding="utf-8")
    files = {f"{name}.tar": tar_path, f"{name}_stats.json": stats}
    return {f"{name}.parquet": whole}, files, count


def renamed(row: dict[str, Any], taken: Collection[str]) -> dict[str, Any]:
    """The row with `input_` before the names that a reader has for something else."""
    new: dict[str, Any] = {}
    for name, value in row.items():
        while name in taken or name in new or name[:1] == "_":
            name = f"input_{name}"
        new[name] = value
    return new


def json_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as JSON values; NaN and infinity, which JSON has not, become null."""
    for batch in table.to_batches(max_chunksize=1_000):
        for row in batch.to_pylist():
            yield {name: _finite(value) for name, value in row.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return {k: _finite(v) for k, v in value.items()} if isinstance(value, dict) else value


def _pictures(data: ShardData, places: Sequence[int]) -> Iterator[bytes]:
    """The stored pictures of the rows numbered `places`, in ascending order like the tar's."""
    remaining = iter(places)
    row = next(remaining, None)
    with data.file("download", "tar") as path, tarfile.open(path, "r|") as tar:
        for member in tar:
            if row is None:
                return
            if int(member.name.split(".")[0]) == row and (handle := tar.extractfile(member)):
                yield handle.read()
                row = next(remaining, None)
    if row is not None:
        raise PartError(f"export: the picture of row {row} of shard {data.name} is not in its tar")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # mtime, uid and gid stay 0: the same rows, the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def shard_stats(table: pa.Table) -> dict[str, Any]:
    """img2dataset's per-shard statistics; its times are 0, so that equal rows give equal bytes.

    If faces were blurred, also in how many pictures (`blurred`).
    """
    count, blurred = table.num_rows, blurred_in(table)
    return {
        "count": count,
        "successes": count,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": {"success": count},
        **({"blurred": blurred["pictures"]} if blurred else {}),
    }


def blurred_in(table: pa.Table) -> dict[str, int]:
    """`pictures` in which faces were blurred, and how many `faces`; empty if none were to be."""
    if BLURRED not in table.column_names:
        return {}
    faces = table[BLURRED].to_numpy()
    return {"pictures": int((faces > 0).sum()), "faces": int(faces.sum())}


def vectors(slices: Sequence[tuple[ShardData, Slice]], name: str) -> Any:
    """float16 vectors (rows, dim) of the slices' rows, `img` or `txt`; zeros for rows that were not
    measured, and for measured rows that a mask hides."""
    parts = []
    for data, part in slices:
        reasons = data.table("reason")["reason"]
        kept = np.flatnonzero(pc.is_null(reasons).to_numpy(zero_copy_only=False))
        array = data.array("embed", f"{name}.npy")
        for mask in (mask for mask in data.masks if "clip_score" in mask.hides):
            array[~data.lets_in(mask)] = 0
        parts.append(array[kept[part.start : part.stop]])
    # The array of a shard without measured pictures has width 0.
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [part if part.shape[1] else np.zeros((len(part), width), np.float16) for part in parts]
    )
