"""Taking rows out of an export that lies in a run folder, in place: no gap in its shards."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.erasing.journal import EXPORT, Journal
from pipeline.layouts.base import Taken
from pipeline.layouts.registry import registered
from pipeline.run import Run
from pipeline.storage import Folder
from pipeline.table import Sidecar, digest_of, file_digest, read_parquet, shard_name

CARD, HEAD = "README.md", "\n## Taken down\n"


def erase_exports(run: Run, journal: Journal) -> None:
    """Take the rows out of every export that holds some; the manifest is written last."""
    uids = pa.array(journal.uids, pa.string())
    # Whatever today's job asks for, an older export may have any of them. The one that is always
    # there goes last: its tables tell the others which rows are to go.
    layouts = sorted(registered().values(), key=lambda layout: layout.always)
    for name, touched in journal.exports.items():
        folder, sidecars = run.folder.sub(f"export/{name}"), run.folder.sub(f"parts/{EXPORT}{name}")
        folder.remove("manifest.json")
        files = folder.files()
        for layout in layouts:
            if any(map(layout.owns, files)):
                layout.erase(Taken(folder, uids, touched))
        for number in touched:
            _note(folder, sidecars, number)
        if name in journal.manifests:
            _write_manifest(folder, touched, journal.manifests[name])


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
