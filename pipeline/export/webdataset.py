"""WebDataset's and img2dataset's layout, which every export has: tars, tables and counts."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.export.layout import Export, Layout, Takedown
from pipeline.export.named import CAPTIONS, caption_of, row_without
from pipeline.export.shards import shard_stats
from pipeline.table.parquet import write_parquet
from pipeline.table.part import shard_name
from pipeline.table.tars import Member, members, write_tar


class WebDataset(Layout):
    """`00000.tar`, `00000.parquet`, `00000_stats.json` …; written by `engine/export.run_export`."""

    name = "webdataset"
    text = (
        "`00000.tar` … of `{key}.jpg`, `.txt`, `.json`, and beside each a Parquet table of the "
        "same rows and img2dataset's counts; always written."
    )
    files = (r"\d+\.tar", r"\d+\.parquet", r"\d+_stats\.json")
    always = True

    def write(self, export: Export) -> list[str]:
        return []

    def erase(self, takedown: Takedown) -> None:
        """Must be called after all other layouts, and rewrites a shard's table last: the table
        says which rows are to be removed when a killed erasure is repeated."""
        uids = frozenset(takedown.uids.to_pylist())
        for number in takedown.shards:
            name, folder = shard_name(number), takedown.folder
            table = takedown.table(number)
            keys = set(table["key"].to_numpy(zero_copy_only=False)[takedown.gone(table)].tolist())
            left = takedown.left(table)
            with folder.local(f"{name}.tar") as source, folder.create(f"{name}.tar") as path:
                write_tar(path, _members(source, keys, uids))
            stats = json.dumps(shard_stats(left), indent=1)
            folder.write(f"{name}_stats.json", stats.encode())
            with folder.create(f"{name}.parquet") as path:
                write_parquet(left, path)


def _members(source: Path, keys: set[str], uids: frozenset[str]) -> Iterator[Member]:
    caption: Member | None = None  # a sample's, until its .json says whether it may stay
    for name, data in members(source):
        key, _, kind = name.partition(".")
        if key in keys:
            continue
        if kind == "txt":
            caption = name, data
            continue
        if kind == "json":
            row = json.loads(data)
            left = row_without(row, uids)
            if caption is not None:
                text = caption_of(left).encode() if row.get(CAPTIONS) else caption[1]
                yield caption[0], text
            if left != row:
                data = json.dumps(left, ensure_ascii=False, allow_nan=False).encode()
        yield name, data
