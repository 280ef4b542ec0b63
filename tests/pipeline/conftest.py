"""Fixtures: jobs, planned run folders and drawn pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shelf import Shelf, make_job

from pipeline.config.job import Job
from pipeline.demo.world import all_scenes, draw


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[..., Job]:
    """`job_of(rows, **sections)`: a job without models over the rows."""
    return lambda rows, **sections: make_job(tmp_path, rows, **sections)


@pytest.fixture
def shelf_of(tmp_path: Path) -> Callable[..., Shelf]:
    """`shelf_of(rows, **sections)`: the same job, dealt and planned."""

    def build(rows: Sequence[Mapping[str, Any]], **sections: Any) -> Shelf:
        return Shelf.of(make_job(tmp_path, rows, **sections), tmp_path)

    return build


@pytest.fixture(scope="session")
def drawings() -> list[np.ndarray]:
    """Eight unlike pictures, RGB uint8 (96, 96, 3). Not to be written to."""
    scenes = all_scenes()[:: len(all_scenes()) // 8][:8]
    return [draw(scene, np.random.default_rng(i), 96) for i, scene in enumerate(scenes)]
