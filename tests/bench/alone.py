"""winnow's download stage over shards, in this process: `python alone.py JOB.json URLS OUT ROWS`.

No cluster, no other stage. Prints one JSON line: when the stage first ran and when it was done.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.job import Job
from pipeline.measure.download import DownloadStage
from pipeline.table.run import Run
from pipeline.table.shard import ShardData


def main(job_file: str, url_file: str, out: str, rows: str) -> None:
    job, size = Job.model_validate_json(Path(job_file).read_text()), int(rows)
    urls = Path(url_file).read_text().split()
    run, tars = Run(f"{out}/run"), Path(out) / "tars"
    (Path(out) / "run" / "shards").mkdir(parents=True)
    tars.mkdir()
    stage = DownloadStage(job, {})
    start = time.time()
    for number, first in enumerate(range(0, len(urls), size)):
        part = urls[first : first + size]
        table = pa.table(
            {
                "uid": [f"{first + i:032x}" for i in range(len(part))],
                "url": part,
                "input_error": pa.nulls(len(part), pa.string()),
            }
        )
        name = f"{number:05d}"
        pq.write_table(table, Path(out) / "run" / "shards" / f"{name}.parquet")
        shard = ShardData(
            run, number, dict.fromkeys(table.column_names, "shards"), {}, scratch=Path(out)
        )
        output = stage.run(shard, np.ones(len(part), bool))
        pq.write_table(output.table, tars / f"{name}.parquet")
        shutil.move(output.files["tar"], tars / f"{name}.tar")
    print(json.dumps({"start": start, "end": time.time()}))


if __name__ == "__main__":  # spawned decoders import this file again
    main(*sys.argv[1:])
