"""Sets of pictures that a job's pictures are held against: an export, a folder of pictures, or a
file of hashes or vectors."""

import csv
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.job import Job
from pipeline.table.part import digest_of, file_digest
from pipeline.table.tars import members
from pipeline.words.errors import InputError
from pipeline.words.heartbeat import beat

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"})
TABLES = (".parquet", ".csv", ".jsonl")
_HASHES = ("sha256", "phash")
_NAMES = ("id", "uid", "file_name", "path", "url")
"""Columns that name a row of a file of hashes; else its number does."""
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BATCH = 64


@dataclass
class Reference:
    """What a set's entries are compared by; an entry has what its source gives."""

    names: list[str] = field(default_factory=list)
    sha256: list[str | None] = field(default_factory=list)
    phash: list[bytes | None] = field(default_factory=list)
    thumbs: list[bytes | None] = field(default_factory=list)
    small: list[bytes | None] = field(default_factory=list)
    vectors: npt.NDArray[np.float32] | None = None
    """Of all entries, or None; shape (entries, dim)."""


def kind_of(path: Path, place: str) -> str:
    """`pictures`, `export`, `hashes` or `vectors`. InputError names the key `place`."""
    if not path.exists():
        raise InputError(f"{place}: {path} does not exist")
    if path.is_dir():
        if (path / "manifest.json").is_file() or next(path.glob("[0-9]*.tar"), None):
            return "export"
        if next(_files(path), None):
            return "pictures"
        raise InputError(f"{place}: {path} holds no pictures and is no export")
    if path.suffix == ".npy":
        return "vectors"
    if path.suffix in TABLES:
        return "hashes"
    raise InputError(
        f"{place}: {path.name} is no set that can be read; name an export, a folder of pictures, "
        f"a table of sha256 or phash ({', '.join(TABLES)}) or vectors (.npy)"
    )


def check_reference(path: Path, width: int | None, place: str) -> None:
    """Before any work: InputError for a set that cannot be used, with what is wrong in it; `width`
    is that of the job's vectors, None if it has none or it is not known."""
    kind = kind_of(path, place)
    if kind == "hashes":
        _hashes_of(path, place)
    elif kind == "vectors":
        array = _array(path, place)
        if width is not None and array.shape[1] != width:
            raise InputError(
                f"{place}: the vectors of {path.name} have {array.shape[1]} numbers, those of this "
                f"job's model {width}"
            )


def digest(path: Path) -> str:
    """Over the content of its files, whatever their folder is called."""
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
    stats = ((str(p), p.stat()) for p in files)
    return _digest(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@functools.lru_cache(maxsize=32)
def _digest(path: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files that are as they were when it was called for them."""
    return digest_of([[str(Path(p).relative_to(path)), file_digest(Path(p))] for p, _, _ in files])


@functools.lru_cache(maxsize=8)
def read_reference(path: Path, digest: str, look: Any) -> Reference:
    """The set; `look` says of decoded pictures what they are compared by (`against.Look`).

    Kept by the content's digest, so that a process looks at a picture once.
    """
    kind = kind_of(path, "dedup.against")
    if kind == "vectors":
        array = _array(path, "dedup.against")
        count = len(array)
        blank: list[Any] = [None] * count
        names = [str(row) for row in range(count)]
        return Reference(names, blank, blank, blank, blank, array.astype(np.float32))
    if kind == "hashes":
        return _hashes_of(path, "dedup.against")
    found, vectors = Reference(), []
    batch: list[Any] = []
    for name, sha256, data in _exported(path) if kind == "export" else _pictures(path):
        beat()
        seen = look.see(data)
        if seen is None:
            continue  # it cannot be decoded, so that no picture of the job is like it
        found.names.append(name)
        found.sha256.append(sha256)
        found.phash.append(seen.phash)
        found.thumbs.append(seen.thumb)
        found.small.append(seen.small)
        batch.append(seen.item)
        if len(batch) == _BATCH:
            vectors.append(look.vectors(batch))
            batch = []
    if batch:
        vectors.append(look.vectors(batch))
    if vectors and vectors[0] is not None:
        found.vectors = np.concatenate(vectors)
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in PICTURES and p.is_file())


def _pictures(folder: Path) -> Iterator[tuple[str, str | None, bytes]]:
    for path in _files(folder):
        yield str(path.relative_to(folder)), file_digest(path), path.read_bytes()


def _exported(folder: Path) -> Iterator[tuple[str, str | None, bytes]]:
    """The pictures of a WebDataset with what its JSON says of them; named by `uid`, else by key."""
    for path in sorted(folder.glob("[0-9]*.tar")):
        picture: tuple[str, bytes] | None = None
        for name, data in members(path):
            key, _, kind = name.partition(".")
            if f".{kind.lower()}" in PICTURES:
                if picture is not None:
                    yield picture[0], None, picture[1]
                picture = key, data
            elif kind == "json" and picture is not None and picture[0] == key:
                row = json.loads(data)
                yield str(row.get("uid") or key), row.get("sha256"), picture[1]
                picture = None
        if picture is not None:
            yield picture[0], None, picture[1]


def _array(path: Path, place: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{place}: {path.name} is no NumPy array ({error})") from None
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(
            f"{place}: {path.name} is {array.dtype} of shape {array.shape}; vectors are numbers "
            "with a fraction, shape (pictures, numbers)"
        )
    return array


def _hashes_of(path: Path, place: str) -> Reference:
    """A table with a column `sha256` or `phash` of 64 hexadecimal digits, or both. InputError names
    the first row that is malformed."""
    rows = _rows_of(path, place)
    found, columns = Reference(), [name for name in _HASHES if rows and name in rows[0]]
    if not columns:
        raise InputError(f"{place}: {path.name} has no column `sha256` or `phash`")
    naming = next((name for name in _NAMES if name in rows[0]), None)
    for number, row in enumerate(rows, 1):
        cells = {name: row.get(name) or None for name in columns}
        for name, cell in cells.items():
            if isinstance(cell, bytes) and len(cell) == 32:
                cells[name] = cell = cell.hex()
            if cell is not None and not (isinstance(cell, str) and _HEX.fullmatch(cell)):
                raise InputError(
                    f"{place}: {path.name}, row {number}: `{name}` is no hash of 64 hexadecimal "
                    f"digits: {str(cell)[:40]!r}"
                )
        found.names.append(str(row[naming]) if naming else str(number))
        found.sha256.append(str(cells["sha256"]).lower() if cells.get("sha256") else None)
        phash = cells.get("phash")
        found.phash.append(bytes.fromhex(str(phash)) if phash else None)
        found.thumbs.append(None)
        found.small.append(None)
    return found


def _rows_of(path: Path, place: str) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            wanted = [n for n in pq.read_schema(path).names if n in (*_HASHES, *_NAMES)]
            rows: list[dict[str, Any]] = pq.read_table(path, columns=wanted).to_pylist()
            return rows
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{place}: {path.name} cannot be read ({error})") from None
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{place}: {path.name}, line {number} is no JSON object")
        lines.append(row)
    return lines


def job_width(job: Job) -> int | None:
    """Numbers of the vectors that the job makes of pictures; None: none, or not known yet."""
    from pipeline.models.clip_source import vector_width
    from pipeline.models.descriptor import check_descriptor

    if job.dedup.descriptor is not None:
        return check_descriptor(job.dedup.descriptor, job.dedup.descriptor_size)
    if job.embed.model:
        return vector_width(str(job.embed.model), job.embed.pretrained)
    return 1024 if job.dedup.verify else None
