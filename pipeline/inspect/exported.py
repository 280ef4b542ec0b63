"""Rows, shards and bytes of the export, counted from its files."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.table.run import Run


def export_folder(run: Run) -> str | None:
    """The last run's export, relative to the run folder; None without a finished one."""
    export = run.state.get("products", {}).get("export")
    if not export or not export.get("current") or not run.folder.exists(export["folder"]):
        return None
    return str(export["folder"])


def exported(run: Run) -> dict[str, Any] | None:
    """`{"folder", "rows", "shards", "bytes"}` of the last run's export, or None without one.

    Rows come from the footers of the Parquet files beside the tars.
    """
    folder = export_folder(run)
    if folder is None:
        return None
    place = run.folder.sub(folder)
    tars = [name for name in place.names() if name.endswith(".tar")]
    rows = 0
    for tar in tars:
        try:
            with place.local(f"{tar.removesuffix('.tar')}.parquet") as path:
                rows += pq.read_metadata(path).num_rows
        except (FileNotFoundError, pa.ArrowInvalid):
            continue  # the rows of a tar without a table are not counted
    size = sum(place.size(name) or 0 for name in tars)
    return {"folder": folder, "rows": rows, "shards": len(tars), "bytes": size}
