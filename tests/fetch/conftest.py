from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from loopback_site import Site

from pipeline.config.download import DownloadConfig
from pipeline.fetch.downloader import downloader_class, fetch_urls
from pipeline.fetch.writer import Fetched, Spool


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """Import img2dataset before the tests, so that no test's time includes it."""
    downloader_class()


@pytest.fixture
def config() -> Callable[..., DownloadConfig]:
    """A job's download section that may reach loopback and has short time limits."""

    def make(**options: Any) -> DownloadConfig:
        usual: dict[str, Any] = {
            "allow_addresses": ("127.0.0.1/32",),
            "connect_timeout": 0.5,
            "first_byte_timeout": 0.5,
            "timeout": 0.5,
            "per_host_rate": None,
            "tdmrep_json": False,
            "deadline": 5.0,
            "retries": 0,
            "image_size": 64,
            "min_image_size": 32,
            "max_bytes": 200_000,
        }
        return DownloadConfig(**usual | options)

    return make


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Start servers with given pages; they are stopped after the test."""
    servers: list[Site] = []

    def start(pages: dict[str, Any]) -> Site:
        servers.append(Site(pages).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def fetch(tmp_path: Path) -> Iterator[Callable[..., list[Fetched]]]:
    """Fetch URLs through img2dataset as the stage does."""
    spools: list[Spool] = []

    def run(urls: Sequence[str | None], config: DownloadConfig) -> list[Fetched]:
        folder = tmp_path / f"spool{len(spools)}"
        folder.mkdir()
        spools.append(Spool(folder))
        return fetch_urls(urls, config, spools[-1])

    yield run
    for spool in spools:
        spool.close()
