from pathlib import Path
from typing import Any

import pytest
from made_run import Made, make_run, many_samples


@pytest.fixture
def make(tmp_path: Path):
    """`make(rows, …)`: a new run folder."""
    counter = iter(range(100))

    def build(rows: list[dict[str, Any]], **options: Any) -> Made:
        folder = tmp_path / f"run{next(counter)}"
        folder.mkdir()
        return make_run(folder, rows, **options)

    return build


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The finished run of `many_samples` in three shards. Tests must not change it."""
    return make_run(tmp_path_factory.mktemp("made"), many_samples())
