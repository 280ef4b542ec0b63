"""Fixtures: jobs, planned run folders and drawn pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import RULES, number_of, pool_uid
from planned_run import PlannedRun, make_job, pairs

from pipeline.config.job import Job
from pipeline.demo.world import all_scenes, draw


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[..., Job]:
    """`job_of(rows, **sections)`: a job without models over the rows."""
    return lambda rows, **sections: make_job(tmp_path, rows, **sections)


@pytest.fixture
def plan_run(tmp_path: Path) -> Callable[..., PlannedRun]:
    """`plan_run(rows, **sections)`: the same job, dealt and planned."""

    def build(rows: Sequence[Mapping[str, Any]], **sections: Any) -> PlannedRun:
        return PlannedRun.of(make_job(tmp_path, rows, **sections), tmp_path)

    return build


@pytest.fixture(scope="session")
def drawings() -> list[np.ndarray]:
    """Eight different pictures, RGB uint8 (96, 96, 3). Tests must not change them."""
    scenes = all_scenes()[:: len(all_scenes()) // 8][:8]
    return [draw(scene, np.random.default_rng(i), 96) for i, scene in enumerate(scenes)]


@pytest.fixture
def exported(plan_run, drawings):
    """`exported(rows, export settings, …)`: a run of drawings, two of every three rows kept.

    `dedup` are cells of that stage by the row's number.
    """

    def build(
        count: int = 8, export=None, vectors: bool = False, rows=None, dedup=None, **job
    ) -> PlannedRun:
        rows = rows or [row | {"uid": pool_uid(row)} for row in pairs(count)]
        model = {"embed": {"model": "winnow-tiny"}} if vectors else {}
        settings = {"shard_size": 3, **(export or {})}
        planned = plan_run(rows, shard_size=3, rules=RULES, export=settings, **model, **job)
        planned.make(*planned.caption_stages)
        for shard in planned.shards:
            numbers = [number_of(row["caption"]) for row in planned.rows(shard)]
            widths = [80 if n % 3 == 2 else 96 for n in numbers]
            pictures = [drawings[n % 8] for n in numbers]
            planned.commit_pictures(shard, pictures, original_width=widths)
            if vectors:
                own = np.stack([np.eye(128)[n] for n in numbers])
                planned.commit_vectors(shard, own, [0.3] * len(numbers))
            planned.commit_part("dedup", shard, [(dedup or {}).get(n, {}) for n in numbers])
        planned.make("decide")
        return planned

    return build
