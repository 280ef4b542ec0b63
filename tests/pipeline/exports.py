"""Exports of drawings: built by the real stages, and read back."""

import hashlib
from pathlib import Path

from planned_run import PlannedRun

RULES = [{"reason": "low_resolution", "when": "original_width < 90"}]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def number_of(caption: str) -> int:
    return int(caption.split()[-1])


def place(planned: PlannedRun) -> Path:
    return Path(planned.export().folder.path())


def kept_captions(planned: PlannedRun) -> list[str]:
    return [
        row["caption"]
        for shard in planned.shards
        for row in planned.rows(shard)
        if number_of(row["caption"]) % 3 != 2
    ]


def of_a_pool(rows, uids):
    """Rows as in DataComp's metadata: with the pool's uid."""
    return [row | {"uid": uid} for row, uid in zip(rows, uids, strict=True)]


def pool_uid(row) -> str:
    """The uid by the method of cc2dataset, which made the pool: equal pairs have equal uids."""
    return hashlib.md5((row["caption"] + row["url"]).encode()).hexdigest()
