"""Small real things to train on: drawn pictures as an export, a Stable Diffusion folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_stable_diffusion import write_stable_diffusion

from train.demo.base import write_drawn_export


@pytest.fixture(autouse=True)
def _one_thread():
    # Tensors this small are slow on two threads while other processes use the cores.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 drawn pictures in 4 shards of at most 8."""
    folder = tmp_path_factory.mktemp("export")
    return write_drawn_export(folder, rows=30, seed=0, processes=1, rows_per_shard=8)


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def pictures() -> torch.Tensor:
    """Four noisy pictures, float (4, 3, 16, 16) in [-1, 1]."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.uniform(-1, 1, (4, 3, 16, 16)).astype(np.float32))
