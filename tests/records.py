"""Files put under a run's records, as if winnow had written them so."""

import json
from pathlib import Path

from pipeline.table.part import digest_of, file_digest


def record(file: Path) -> None:
    """Have the sidecar of a part's file name its size and checksum as they are now."""
    sidecar = file.with_suffix(".json")
    values = json.loads(sidecar.read_text())
    values["files"][file.name] = file.stat().st_size
    values["digests"][file.name] = file_digest(file)
    values["digest"] = digest_of(values["digests"])
    sidecar.write_text(json.dumps(values))
