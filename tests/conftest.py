"""Which tests are slow: `make test-fast` leaves them out.

Where a folder or a fixture tells it, the mark is given here, so that a new test has it from the
start. A single slow test says so itself, `@pytest.mark.slow`. In the fast tier a test that takes
longer than the Makefile's `--timeout` fails, so that one that forgot to is noticed.
"""

import os
from pathlib import Path

import pytest

FOLDERS = {"run", "models", "hostile"}
"""Below tests/: clusters and kills; CLIP itself; sites that make the fetcher wait, and fuzz."""
FIXTURES = {"threads", "undisturbed", "stable_diffusion", "model", "published", "exported"}
"""A cluster, trained models, Stable Diffusion, a BERT, a whole export for every test."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory) -> None:
    """Networks are converted for the tests, not into the cache of who runs them; workers share."""
    os.environ["WINNOW_CACHE"] = str(tmp_path_factory.getbasetemp().parent / "winnow-cache")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import slow folders for the fast tier."""
    slow = collection_path.parent.name == "tests" and collection_path.name in FOLDERS
    return True if slow and config.option.markexpr == "not slow" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(config.rootpath).parts[1]
        if folder in FOLDERS or FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
