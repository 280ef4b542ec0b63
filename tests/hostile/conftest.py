from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile_dns import HostileDns, addresses
from loopback_site import Page, Site
from shard_run import Outcome, run_shard


@pytest.fixture(scope="session")
def loopback_dns() -> Iterator[HostileDns]:
    """A DNS server that resolves every name to this machine."""
    with HostileDns({}, addresses("127.0.0.1")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import everything first, so that no test's time and memory include it."""
    with Site({"/good": lambda h: h.answer(404)}) as site:
        run_shard(tmp_path_factory.mktemp("warm"), [f"{site.base}/good"], {})


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Site]]:
    """Start sites with given pages; they end with the tests of the file.

    Each gets a name of its own, since a fetching process remembers hosts from shard to shard.
    """
    sites: list[Site] = []

    def start(pages: Mapping[str, Page], **options: Any) -> Site:
        name = f"site-{len(sites)}.test"
        sites.append(Site(pages, **{"name": name} | options).__enter__())
        return sites[-1]

    yield start
    for site in sites:
        site.__exit__()


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, loopback_dns: HostileDns
) -> Callable[..., Outcome]:
    """Run the download stage over a shard of URLs."""
    folder: Path = tmp_path_factory.mktemp("run")
    usual = {"nameservers": (loopback_dns.address,)}

    def take(urls: Sequence[str | None], options: Mapping[str, Any], **more: Any) -> Outcome:
        return run_shard(folder, urls, usual | dict(options), **more)

    return take
