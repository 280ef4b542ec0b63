"""Download parts that were damaged from outside: what is whole of them is not fetched again.

The rest of a part is fetched as if its rows had never been asked for. Everything else of a run is
made again from what is left; pictures are only on the web, if they still are.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.engine.patches import marked
from pipeline.engine.plan import Node, Plan
from pipeline.ingest.rows import blank
from pipeline.measure.download import DownloadStage, fetch_summary
from pipeline.table.checked import is_whole
from pipeline.table.freshness import INGEST
from pipeline.table.parquet import read_parquet
from pipeline.table.part import (
    Sidecar,
    commit,
    digest_of,
    file_digest,
    pack_rows,
    read_sidecar,
    shard_name,
    unpack_rows,
)
from pipeline.table.shard import Rows
from pipeline.table.storage import Folder
from pipeline.table.tars import Member, row_of, whole_members, write_tar

MARK = "salvaged"
"""In the policy of such a part, which is therefore not up to date: its lost rows are due."""


def salvage(plan: Plan, node: Node, shard: int) -> Sidecar | None:
    """The record of what is whole of a damaged download part; None if nothing of it is.

    With a damaged tar the pictures that have their checksums stay. With a damaged record the part
    stays if the record of a later stage holds the digest of exactly these files.
    """
    if not isinstance(node.stage, DownloadStage):
        return None
    folder, name = plan.run.folder.sub(node.folder), shard_name(shard)
    table, tar = f"{name}.parquet", f"{name}.tar"
    if not folder.exists(table):
        return None
    try:
        record = Sidecar.decode(folder.read(f"{name}.json"), name)
    except (FileNotFoundError, ValueError, TypeError):
        return _recorded_again(plan, node, shard)
    if set(record.digests) != {table, tar} or not is_whole(folder, table, record.digests[table]):
        return None
    if is_whole(folder, tar, record.digests[tar]):
        return record
    return _without_lost_rows(plan, folder, record)


def _without_lost_rows(plan: Plan, folder: Folder, record: Sidecar) -> Sidecar:
    """Commit the part with the tar's whole pictures; the rows of the others count as not asked."""
    name = shard_name(record.shard)
    stored = read_parquet(folder, f"{name}.parquet")
    had = stored_rows(stored)
    with plan.scratch() as place:
        tar = place / "whole.tar"
        lost = marked(len(stored), sorted(had - _keep_whole(folder, f"{name}.tar", tar, had)))
        asked = unpack_rows(record.asked, len(stored)) & ~lost
        rows: list[int] = np.flatnonzero(lost).tolist()
        table = _not_asked(stored, lost)
        return commit(
            folder, name, record.shard, {f"{name}.parquet": table}, {f"{name}.tar": tar},
            stage=record.stage, fingerprint=record.fingerprint, inputs=record.inputs,
            rows=record.rows, seconds=record.seconds, peak_memory_mb=record.peak_memory_mb,
            summary=fetch_summary(table), asked=pack_rows(asked),
            policy={**(record.policy or {}), MARK: len(rows)},
            patches=[*record.patches, {"base": record.digest, "rows": rows}],
            killed=record.killed, aside=True,
        )  # fmt: skip


def _keep_whole(folder: Folder, name: str, target: Path, rows: set[int]) -> set[int]:
    """Write the whole pictures of these rows to `target`; the rows that are in it."""
    kept = set()

    def noted() -> Iterator[Member]:
        for row, member in whole_pictures(folder, name, rows):
            kept.add(row)
            yield member

    write_tar(target, noted(), sums=True)
    return kept


def whole_pictures(folder: Folder, name: str, rows: set[int]) -> Iterator[tuple[int, Member]]:
    """What is whole of a damaged tar that should hold these rows' pictures: row and member."""
    if not folder.exists(name):
        return
    with folder.local(name) as path:
        for member in whole_members(path, sorted(rows)):
            if (row := row_of(member[0])) in rows:
                yield row, member


def stored_rows(stored: pa.Table) -> set[int]:
    """The rows of a download part whose pictures its tar holds."""
    return {row for row, one in enumerate(stored["status"].to_pylist()) if one == "success"}


def _not_asked(stored: pa.Table, lost: Rows) -> pa.Table:
    """The table with lost rows as if the stage had not been asked for them."""
    place = stored.column_names.index("status")
    status = np.where(lost, "skipped", np.array(stored["status"].to_pylist(), object))
    cells = pa.array(status.tolist(), stored.schema.field(place).type)
    return blank(stored, lost).set_column(place, "status", cells)


def _recorded_again(plan: Plan, node: Node, shard: int) -> Sidecar | None:
    """Write the record anew; None unless a later stage's says that these files are as they were.

    Nobody knows under which gates they were fetched. So rows that any gate may have refused count
    as not asked.
    """
    from pipeline.fetch.gates import GATE_REASONS

    folder, name = plan.run.folder.sub(node.folder), shard_name(shard)
    sizes, digests = {}, {}
    for target in (f"{name}.parquet", f"{name}.tar"):
        if not folder.exists(target):
            return None
        with folder.local(target) as path:
            sizes[target], digests[target] = path.stat().st_size, file_digest(path)
    witness = _witness(plan, node, name, digest_of(digests))
    if witness is None or INGEST not in witness:
        return None
    stored = read_parquet(folder, f"{name}.parquet")
    statuses, reasons = stored["status"].to_pylist(), stored["fetch_reason"].to_pylist()
    asked = np.array([
        status != "skipped" and reason not in GATE_REASONS
        for status, reason in zip(statuses, reasons, strict=True)
    ])  # fmt: skip
    gates = {k: v for k, v in node.stage.gates().items() if k not in _LISTS}
    record = Sidecar(
        node.name, node.fingerprint, shard, len(stored), {INGEST: witness[INGEST]},
        digest_of(digests), sizes, digests, 0.0, 0.0, fetch_summary(stored), pack_rows(asked),
        {"gates": gates, MARK: 0},
    )  # fmt: skip
    folder.write(f"{name}.json", record.encode())
    return record


_LISTS = ("opted_out_domains", "blocklist", "blocklist_pdq_distance")
"""Gates by which pictures that are stored are compared again, as if there had been no list."""


def _witness(plan: Plan, node: Node, name: str, digest: str) -> Mapping[str, str] | None:
    """The inputs of a later stage's part that was made from a download part of this digest."""
    for folder in plan.run.folder.names("parts"):
        other = read_sidecar(plan.run.folder.sub(f"parts/{folder}"), name)
        if other is not None and other.inputs.get(node.name) == digest:
            return other.inputs
    return None
