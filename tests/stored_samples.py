"""Small tars, tables and folders of pictures."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def picture(seed: int, kind: str = ".jpg") -> bytes:
    """A picture of 64 by 48 pixels that no other seed gives."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return bytes(cv2.imencode(kind, cv2.resize(small, (64, 48)))[1])


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def sample(key: str, seed: int, caption: str | None, row: Mapping[str, Any] | None = None):
    """The members of one sample, as img2dataset writes them."""
    files = [(f"{key}.jpg", picture(seed))]
    if row is not None:
        files.append((f"{key}.json", json.dumps(row).encode()))
    if caption is not None:
        files.append((f"{key}.txt", caption.encode()))
    return files


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], row_group: int = 3) -> str:
    """Hugging Face's Parquet with an image column, in small row groups."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    own = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "image"} for row in rows])
    table = own.add_column(0, "image", pa.array([row["image"] for row in rows], image))
    pq.write_table(table, path, row_group_size=row_group)
    return str(path)
