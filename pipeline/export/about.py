"""Files about an export as a whole: its size for trainers, and its description for catalogues."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq

from pipeline.export.croissant import croissant
from pipeline.table.storage import Folder

FILES = frozenset({"sizes.json", "__len__", "croissant.json"})


def write_about(folder: Folder, manifest: Mapping[str, Any]) -> None:
    """Write them from the manifest, and from the first table's columns.

    open_clip's training reads the number of samples from `sizes.json` ({tar: rows}), or else from
    `__len__` (their sum).
    """
    shards = manifest["shards"]
    sizes = {shard["tar"]: shard["rows"] for shard in shards}
    folder.write("sizes.json", json.dumps(sizes, indent=1).encode())
    folder.write("__len__", str(manifest["rows"]).encode())
    schema = None
    if shards:
        with folder.local(shards[0]["parquet"]) as path:
            schema = pq.read_schema(path)
    folder.write("croissant.json", croissant(manifest, schema))
