"""Taking rows out of an export that lies in a run folder, in place: no gap in its shards."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.erasing.journal import EXPORT, Journal
from pipeline.exporting import halves_of, is_pool_uid
from pipeline.run import Run
from pipeline.stages.export import shard_stats
from pipeline.storage import Folder
from pipeline.table import (
    Sidecar,
    digest_of,
    file_digest,
    read_parquet,
    shard_name,
    write_parquet,
)
from pipeline.tars import Member, members, write_tar

CARD, HEAD = "README.md", "\n## Taken down\n"


def erase_exports(run: Run, journal: Journal) -> None:
    """Take the rows out of every export that holds some; the manifest is written last."""
    uids = pa.array(journal.uids, pa.string())
    for name, touched in journal.exports.items():
        folder, sidecars = run.folder.sub(f"export/{name}"), run.folder.sub(f"parts/{EXPORT}{name}")
        folder.remove("manifest.json")
        if folder.exists("subset.npy"):  # first: the tables say which uids of the pool are to go
            _erase_subset(folder, touched, uids)
        for number in touched:
            _erase_shard(folder, number, uids)
            _note(folder, sidecars, number)
        if name in journal.manifests:
            _write_manifest(folder, touched, journal.manifests[name])


def _erase_shard(folder: Folder, number: int, uids: pa.Array) -> None:
    """The table last: it says which rows are still to go when a killed erasure goes on."""
    name = shard_name(number)
    table = read_parquet(folder, f"{name}.parquet")
    stays = pc.invert(pc.is_in(table["uid"], value_set=uids)).to_numpy(zero_copy_only=False)
    gone = set(table["key"].filter(pa.array(~stays)).to_pylist())
    kept = _without_leaders(table.filter(pa.array(stays)), uids)
    with folder.local(f"{name}.tar") as source, folder.create(f"{name}.tar") as path:
        write_tar(path, _members(source, gone, set(uids.to_pylist())))
    folder.write(f"{name}_stats.json", json.dumps(shard_stats(kept.num_rows), indent=1).encode())
    for kind in ("img", "text"):
        file = f"{kind}_emb/{kind}_emb_{number}.npy"
        if folder.exists(file):
            with folder.local(file) as source:
                array = np.load(source, allow_pickle=False)
            if len(array) == len(stays):  # else a killed erasure was here before
                with folder.create(file) as path, path.open("wb") as out:
                    np.save(out, array[stays], allow_pickle=False)
    for file in (f"metadata/metadata_{number}.parquet", f"{name}.parquet"):
        if folder.exists(file):
            with folder.create(file) as path:
                write_parquet(kept, path)


def _without_leaders(table: pa.Table, uids: pa.Array) -> pa.Table:
    """No row names one that is gone as the leader of its group."""
    for name in ("dup_group", "dup_of"):
        if name in table.column_names:
            led = pc.is_in(table[name], value_set=uids)
            nulled = pc.if_else(led, pa.scalar(None, pa.string()), table[name])
            table = table.set_column(table.column_names.index(name), name, nulled)
    return table


def _members(source: Path, gone: set[str], uids: set[str]) -> Iterator[Member]:
    for name, data in members(source):
        key, _, kind = name.partition(".")
        if key in gone:
            continue
        if kind == "json":
            row = json.loads(data)
            led = [n for n in ("dup_group", "dup_of") if row.get(n) in uids]
            if led:
                row |= dict.fromkeys(led)
                data = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
        yield name, data


def _note(folder: Folder, sidecars: Folder, number: int) -> None:
    """Bring the shard's sidecar to its files, so that the export is counted as it is."""
    name = shard_name(number)
    try:
        sidecar = Sidecar(**json.loads(sidecars.read(f"{name}.json")))
    except (FileNotFoundError, ValueError, TypeError):
        return
    sizes, digests = {}, {}
    for target in sidecar.files:
        with folder.local(target) as path:
            sizes[target], digests[target] = path.stat().st_size, file_digest(path)
    rows = read_parquet(folder, f"{name}.parquet", ["uid"]).num_rows
    changed = replace(sidecar, rows=rows, files=sizes, digests=digests, digest=digest_of(digests))
    sidecars.write(f"{name}.json", changed.encode())


def _erase_subset(folder: Folder, touched: Sequence[int], uids: pa.Array) -> None:
    """DataComp's subset file: sorted pairs of a uid's halves."""
    gone: set[str] = set()
    for number in touched:
        table = read_parquet(folder, f"{shard_name(number)}.parquet")
        rows = table.filter(pc.is_in(table["uid"], value_set=uids))
        # The pool's own, whatever the deal at that time had to name it.
        for name in (n for n in rows.column_names if re.fullmatch("(input_)+uid", n)):
            gone.update(filter(is_pool_uid, rows[name].to_pylist()))
    with folder.local("subset.npy") as path:
        subset = np.load(path, allow_pickle=False)
    with folder.create("subset.npy") as path, path.open("wb") as out:
        np.save(out, subset[~np.isin(subset, halves_of(gone))], allow_pickle=False)


def _write_manifest(folder: Folder, touched: list[int], old: dict[str, Any]) -> None:
    """The old manifest with today's sums and counts, and a word on the card."""
    shards = [dict(shard) for shard in old["shards"]]
    for number in (n for n in touched if n < len(shards)):
        name = shard_name(number)
        with folder.local(f"{name}.tar") as tar, folder.local(f"{name}.parquet") as table:
            shards[number] |= {
                "rows": read_parquet(folder, f"{name}.parquet", ["uid"]).num_rows,
                "bytes": tar.stat().st_size,
                "sha256": file_digest(tar),
                "parquet_sha256": file_digest(table),
            }
    digest = digest_of([[shard["sha256"], shard["parquet_sha256"]] for shard in shards])
    rows = sum(shard["rows"] for shard in shards)
    gone, counts = old["rows"] - rows, dict(old["counts"])
    if gone:
        counts["kept"] = counts.get("kept", 0) - gone
        counts["forgotten"] = counts.get("forgotten", 0) + gone
    manifest = old | {
        "fingerprint": digest_of([old["recipe"], digest]),
        "digest": digest,
        "rows": rows,
        "counts": counts,
        "shards": shards,
    }
    if folder.exists(CARD):
        card = folder.read(CARD).decode().split(HEAD)[0]
        note = (
            f"{counts.get('forgotten', 0):,} rows were taken out after this card was written, "
            f"{rows:,} are left; `manifest.json` has today's counts and digests.\n"
        )
        folder.write(CARD, f"{card}{HEAD}\n{note}".encode())
    folder.write("manifest.json", json.dumps(manifest, indent=1).encode())
