"""Removes rows from the exports of a run folder, in place."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.erase.parts import EXPORT
from pipeline.engine.erase.rows import numbers, rows_of
from pipeline.export.about import FILES, write_about
from pipeline.export.finish import MANIFEST, blurred_entry, blurred_total, note_other_files
from pipeline.export.layout import Takedown
from pipeline.export.named import LEADERS, OWNERS, names_any
from pipeline.export.registry import registered, unowned
from pipeline.table.parquet import read_parquet
from pipeline.table.part import (
    Sidecar,
    digest_of,
    file_digest,
    read_sidecar,
    shard_name,
    versions_of,
)
from pipeline.table.run import Run
from pipeline.table.sealed import seal, unseal
from pipeline.table.storage import Folder

CARD, HEAD = "README.md", "\n## Taken down\n"
SHOWN = 5


def holding(run: Run, uids: Sequence[str]) -> dict[str, Any]:
    """`exports` {name: shards that hold or name some of the rows}, `manifests` {name: as they
    were}, `torn` (unfinished files, which no sidecar names) and `unowned` (files that belong to no
    layout: they stay as they are)."""
    wanted = pa.array(sorted(uids), pa.string())
    found: dict[str, Any] = {"exports": {}, "manifests": {}, "torn": [], "unowned": []}
    for name in run.folder.names("export"):
        _look(run, name, wanted, found)
    if uids:
        files = run.folder.files("export")
        found["unowned"] = [f"export/{f}" for f in files if unowned([f.partition("/")[2]])]
    return found


def notes(held: Mapping[str, Any]) -> list[str]:
    """What the erasure does not remove, in words for a user."""
    left = held["unowned"]
    if not left:
        return []
    shown = ", ".join(left[:SHOWN]) + (", …" if len(left) > SHOWN else "")
    them = "it" if len(left) == 1 else "each"
    return [
        f"left as they are, because no layout can remove rows from them: {shown} "
        f"({len(left):,}); check whether {them} holds the rows, and remove it"
    ]


def erase(run: Run, uids: Sequence[str], held: Mapping[str, Any]) -> None:
    """Remove the rows from every export that holds some; the manifest is written last."""
    run.folder.remove(*held["torn"])
    taken = pa.array(sorted(uids), pa.string())
    # All layouts, because an older export may have layouts that today's job does not name. The one
    # that every export has goes last, because the others find the rows in its tables.
    layouts = sorted(registered().values(), key=lambda layout: layout.always)
    for name, touched in held["exports"].items():
        folder, sidecars = run.folder.sub(f"export/{name}"), run.folder.sub(f"parts/{EXPORT}{name}")
        folder.remove(MANIFEST)
        files = folder.files()
        for layout in layouts:
            if any(map(layout.owns, files)):
                layout.erase(Takedown(folder, taken, touched))
        for number in touched:
            _note(folder, sidecars, number)
        if name in held["manifests"]:
            _write_manifest(folder, sidecars, touched, held["manifests"][name])


def _look(run: Run, name: str, wanted: pa.Array, found: dict[str, Any]) -> None:
    folder = run.folder.sub(f"export/{name}")
    names, torn = folder.files(), set()
    if MANIFEST not in names:
        # Killed while it was written: a new table may be there with an old tar.
        torn = _unvouched(folder, names, run.folder.sub(f"parts/{EXPORT}{name}"))
        found["torn"].extend(f"export/{name}/{file}" for file in sorted(torn))
    whole = [file for file in names if file not in torn]
    touched = [n for n in numbers(whole) if _is_in_export(folder, n, wanted)]
    if touched:
        found["exports"][name] = touched
        if MANIFEST in names:
            found["manifests"][name] = unseal(folder.read(MANIFEST))


def _unvouched(folder: Folder, names: Sequence[str], sidecars: Folder) -> set[str]:
    """Files of an unfinished export that no sidecar names; it is written again anyway."""
    read = (
        read_sidecar(sidecars, shard_name(number), data=folder)
        for number in numbers(sidecars.names(), ".json")
    )
    vouched = {file for sidecar in read if sidecar is not None for file in sidecar.files}
    strange = {"README.md", *FILES, *unowned(names)}
    return {name for name in names if name not in vouched and name not in strange}


def _is_in_export(folder: Folder, number: int, uids: pa.Array) -> bool:
    """Whether an export's shard holds such a row, or something of one in another row."""
    name = f"{shard_name(number)}.parquet"
    if rows_of(folder, name, uids):
        return True
    with folder.local(name) as path:
        there = pq.read_schema(path).names
        wanted = [column for column in (*LEADERS, OWNERS) if column in there]
        return names_any(pq.read_table(path, columns=wanted), uids)


def _note(folder: Folder, sidecars: Folder, number: int) -> None:
    """Update the shard's sidecar to its files, so that the export is counted correctly."""
    name = shard_name(number)
    try:
        sidecar = Sidecar.decode(sidecars.read(f"{name}.json"), name)
    except (FileNotFoundError, ValueError, TypeError):
        return
    sizes, digests = {}, {}
    for target in sidecar.files:
        with folder.local(target) as path:
            sizes[target], digests[target] = path.stat().st_size, file_digest(path)
    rows = read_parquet(folder, f"{name}.parquet", ["uid"]).num_rows
    changed = replace(
        sidecar, rows=rows, files=sizes, digests=digests, digest=digest_of(digests),
        versions=versions_of(folder, sizes),
    )  # fmt: skip
    sidecars.write(f"{name}.json", changed.encode())


def _write_manifest(
    folder: Folder, sidecars: Folder, touched: Sequence[int], old: dict[str, Any]
) -> None:
    """Write the old manifest with new checksums and counts, and add a note to the card."""
    shards = [dict(shard) for shard in old["shards"]]
    for number in (n for n in touched if n < len(shards)):
        name = shard_name(number)
        with folder.local(f"{name}.tar") as tar, folder.local(f"{name}.parquet") as table:
            shards[number] |= {
                "rows": read_parquet(folder, f"{name}.parquet", ["uid"]).num_rows,
                "bytes": tar.stat().st_size,
                "sha256": file_digest(tar),
                "parquet_sha256": file_digest(table),
                **blurred_entry(folder, number),
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
    if "blurred" in old:
        manifest["blurred"] = old["blurred"] | blurred_total(shards)
    if folder.exists(CARD):
        card = folder.read(CARD).decode().split(HEAD)[0]
        note = (
            f"{counts.get('forgotten', 0):,} rows were taken out after this card was written, "
            f"{rows:,} are left; `manifest.json` has today's counts and digests.\n"
        )
        folder.write(CARD, f"{card}{HEAD}\n{note}".encode())
    write_about(folder, manifest)
    manifest["files"] = note_other_files(folder, sidecars, manifest)
    folder.write(MANIFEST, seal(manifest))
