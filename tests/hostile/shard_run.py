"""Runs the download stage over a few rows, as a worker does, and checks the resulting part."""

import io
import tarfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peak_memory import PeakMemory
from PIL import Image

from pipeline.config.download import DownloadConfig
from pipeline.config.job import Job
from pipeline.judge.fetch_rules import fetch_rules
from pipeline.judge.stages import stages_for
from pipeline.measure.download import expected_columns
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import check_columns
from pipeline.table.run import Run
from pipeline.table.shard import ShardData
from pipeline.table.sql import evaluate
from pipeline.words.reasons import FETCH

# A job that may reach loopback and has long time limits; tests of timeouts set shorter ones.
USUAL: dict[str, Any] = {
    "allow_addresses": ("127.0.0.1/32",),
    "connect_timeout": 2.0,
    "first_byte_timeout": 2.0,
    "timeout": 2.0,
    "deadline": 6.0,
    "retries": 0,
    "image_size": 64,
    "min_image_size": 32,
    "max_bytes": 200_000,
    "decoders": 1,
    "per_host_rate": None,
    "tdmrep_json": False,
}
IMPATIENT = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "timeout": 0.5}
STATES = ("success", "failed", "skipped", "invalid")


@dataclass(frozen=True)
class Outcome:
    """The result of a shard: its rows, the stored pictures by row, time and memory."""

    rows: list[dict[str, Any]]
    pictures: dict[int, bytes]
    seconds: float
    memory: PeakMemory
    judged: list[str | None]
    """By row, the first rule of the `download:` section that is true for its facts."""

    @property
    def reasons(self) -> list[str | None]:
        return [row["fetch_reason"] for row in self.rows]

    @property
    def states(self) -> list[str]:
        return [row["status"] for row in self.rows]

    def pixels(self, row: int) -> np.ndarray:
        """A stored picture, int (height, width, 3)."""
        with Image.open(io.BytesIO(self.pictures[row])) as image:
            return np.asarray(image.convert("RGB")).astype(int)


def run_shard(
    folder: Path,
    urls: Sequence[str | None],
    options: Mapping[str, Any],
    wanted: Sequence[bool] | None = None,
    **columns: Sequence[str | None],
) -> Outcome:
    """One shard of these URLs through the download stage; `columns` are further ones of its rows.

    `wanted` marks the rows that the stage's `only_if` lets through.
    """
    count = len(urls)
    errors = columns.pop("input_error", [None] * count)
    table = pa.table(
        {
            "uid": [f"{i:032x}" for i in range(count)],
            "url": pa.array(urls, pa.string()),
            "caption": pa.array([f"picture {i}" for i in range(count)], pa.string()),
            "input_error": pa.array(errors, pa.string()),
            **{name: pa.array(values, pa.string()) for name, values in columns.items()},
        }
    )
    mask = np.array([True] * count if wanted is None else wanted)
    run = Run(folder)
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "shards" / "00000.parquet")
    shard = ShardData(run, 0, dict.fromkeys(table.column_names, "shards"), {}, scratch=folder)
    stage = download_stage(options, table.schema)
    started = time.monotonic()
    with PeakMemory() as memory:
        output = stage.run(shard, mask)
    seconds = time.monotonic() - started
    output.table = check_columns(stage.writes, output.table, "download")
    pictures = _members(output)
    _assert_conserved(table, mask, output, pictures)
    rows = output.table.to_pylist()
    return Outcome(rows, pictures, seconds, memory, _judged(options, table, output.table))


def _judged(options: Mapping[str, Any], given: pa.Table, found: pa.Table) -> list[str | None]:
    job = Job(input="unused.csv", download=DownloadConfig(**USUAL | dict(options)))
    types = dict(zip(given.column_names, given.schema.types, strict=True))
    rules = fetch_rules(job, expected_columns(job, types))
    for name in set(given.column_names) - set(found.column_names):
        found = found.append_column(name, given[name])
    verdicts = evaluate(found, [rule.when for rule in rules])
    return [
        next((rule.reason for rule, v in zip(rules, verdicts, strict=True) if v[row] == 1), None)
        for row in range(found.num_rows)
    ]


def download_stage(options: Mapping[str, Any], schema: pa.Schema) -> TableStage:
    """The job's download stage, made as a run makes it."""
    job = Job(input="unused.csv", download=DownloadConfig(**USUAL | dict(options)))
    types = dict(zip(schema.names, schema.types, strict=True))
    [stage] = [stage for stage in stages_for(job, types) if stage.name == "download"]
    assert isinstance(stage, TableStage)
    return stage


def _members(output: Output) -> dict[int, bytes]:
    try:
        with tarfile.open(output.files["tar"]) as tar:
            found = {int(m.name.removesuffix(".jpg")): tar.extractfile(m).read() for m in tar}
            names = tar.getnames()
    finally:
        output.files["tar"].unlink()
    assert names == [f"{row:06d}.jpg" for row in found], names
    return found


def _assert_conserved(
    given: pa.Table, mask: np.ndarray, output: Output, pictures: Mapping[int, bytes]
) -> None:
    """Rows in = success + failed + skipped + invalid, in order and with their reasons."""
    rows, summary = output.table.to_pylist(), output.summary
    assert [row["uid"] for row in rows] == given["uid"].to_pylist()
    states = Counter(row["status"] for row in rows)
    assert {state: states[state] for state in STATES} == {s: summary[s] for s in STATES}
    assert sum(summary[state] for state in STATES) == len(given)
    reasons = Counter(row["fetch_reason"] for row in rows if row["status"] == "failed")
    assert dict(reasons) == summary["reasons"]
    assert list(pictures) == [i for i, row in enumerate(rows) if row["status"] == "success"]
    for i, (row, error) in enumerate(zip(rows, given["input_error"].to_pylist(), strict=True)):
        if error is not None or not mask[i]:
            assert row["status"] == ("skipped" if error is None else "invalid")
        if row["status"] == "failed":
            assert row["fetch_reason"] in FETCH
            assert row["error_message"].isprintable()
            assert 0 < len(row["error_message"]) <= 300
        else:
            assert (row["fetch_reason"], row["error_message"]) == (None, None)
        if row["status"] == "success":
            with Image.open(io.BytesIO(pictures[i])) as image:
                assert image.format == "JPEG"
                assert image.size == (row["width"], row["height"])
                image.load()
