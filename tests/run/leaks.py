"""Searches every file of a run folder, compressed ones too, for content of a row."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

USERS_OWN = {"job.yaml"}


def secrets_of(run: Path, row: dict[str, Any]) -> dict[str, Any]:
    """All byte strings by which a row's content can be recognised."""
    place, pictures, vectors = f"{row['row']:06d}.jpg", [], []
    for tar in run.glob(f"parts/download-*/{row['shard']:05d}.tar"):
        with tarfile.open(tar) as opened:
            handle = opened.extractfile(place) if place in opened.getnames() else None
            pictures += [handle.read()] if handle else []
    for array in run.glob(f"parts/embed-*/{row['shard']:05d}.*.npy"):
        vectors.append(np.load(array)[row["row"]])
    found = {
        name: str(row[name]).encode() for name in ("url", "caption", "licence") if row.get(name)
    }
    found |= {name: row[name] for name in ("phash", "thumb") if row.get(name)}
    if row.get("input_uid"):  # DataComp's, as text and as its subset file packs it
        uid = row["input_uid"]
        halves = [(int(uid[:16], 16), int(uid[16:], 16))]
        found |= {"pool uid": uid.encode(), "packed uid": np.array(halves, "u8,u8").tobytes()}
    if row.get("sha256"):
        found["sha256"] = row["sha256"].encode()
    # The first bytes of a JPEG and its tables are the same in many files.
    found |= {f"picture {i}": data[-400:-100] for i, data in enumerate(pictures)}
    return found | {"vectors": vectors}


def leaks(run: Path, secrets: dict[str, Any]) -> list[tuple[str, str]]:
    """(file, name) of everything found. The tombstones may contain a sha256 that was given."""
    found = []
    for path in sorted(p for p in run.rglob("*") if p.is_file() and p.name not in USERS_OWN):
        name = str(path.relative_to(run))
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += _cells(path)
        for what, secret in secrets.items():
            if what == "sha256" and path.name == "tombstones.jsonl":
                continue
            if what == "vectors":
                found += [(name, what)] if path.suffix == ".npy" and _holds(path, secret) else []
            elif secret in data:
                found.append((name, what))
    return found


def _cells(path: Path) -> bytes:
    """A table's cells as bytes."""
    out = []
    for column in pq.read_table(path).columns:
        for value in column.to_pylist():
            out.append(value if isinstance(value, bytes) else str(value).encode())
    return b"\0".join(out)


def _holds(path: Path, vectors: list[np.ndarray]) -> bool:
    array = np.load(path)
    return any(
        array.ndim == 2 and array.shape[1] == len(v) and (array == v).all(axis=1).any()
        for v in vectors
        if v.any()
    )
