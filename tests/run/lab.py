"""A served site, job files over it, and ways to run them."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.config.load import load_job
from pipeline.engine.runner import Result, execute, prepare
from pipeline.words.progress import Lines

SHARD = 10
INLINE = {"executor": "inline"}
"""In this process, so that tests can break stages."""
DASK: dict[str, Any] = {}
"""Each run starts its own processes."""


@dataclass(frozen=True)
class Site:
    """The served pictures: `rows` are good pairs, `dead` URLs answer 404."""

    url: str
    folder: Path
    rows: list[dict[str, str]]
    dead: list[dict[str, str]]


@dataclass
class Lab:
    """Job files and runs in one temporary folder; `cluster` is the section of its jobs."""

    site: Site
    folder: Path
    cluster: dict[str, Any] = field(default_factory=lambda: dict(INLINE))
    said: list[str] = field(default_factory=list)

    def write(self, rows: list[dict[str, Any]], name: str = "rows.parquet") -> Path:
        path = self.folder / name
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path

    def job(self, rows: list[dict[str, Any]] | None = None, **sections: Any) -> Path:
        """A job file without models; `sections` are merged over it."""
        rows = self.site.rows + self.site.dead if rows is None else rows
        values: dict[str, Any] = {
            "input": str(self.write(rows)),
            "output": str(self.folder / "runs"),
            "shard_size": SHARD,
            "captions": {"toxicity": None, "language": False},
            "images": {"nsfw": None},
            "dedup": {"verify": False},
            "download": {
                "allow_addresses": ["127.0.0.1/32"],
                "min_image_size": 32,
                "retries": 0,
                "per_host_rate": None,
            },
            "rules": [{"reason": "duplicate", "when": "dup_group is not null"}],
            "cluster": self.cluster,
        }
        for name, value in sections.items():
            if isinstance(value, dict) and isinstance(values.get(name), dict):
                values[name] = {**values[name], **value}
            else:
                values[name] = value
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def run(self, job_file: Path, *overrides: str) -> Result:
        job = load_job(job_file, overrides)
        with (self.folder / "said.txt").open("w") as stream:
            result = execute(prepare(job), job_file, Lines(stream))
        self.said = (self.folder / "said.txt").read_text().splitlines()
        return result

    def log(self, result: Result) -> list[dict[str, Any]]:
        """The run's `log.jsonl`."""
        lines = Path(result.run.folder.path("log.jsonl")).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def winnow(self, *words: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """The command as a user runs it."""
        command = [sys.executable, "-m", "pipeline", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, **kwargs)
