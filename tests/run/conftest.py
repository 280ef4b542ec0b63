"""Fixtures of runs: one served site per session, and folders and executors to run in."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from lab import DASK, Lab, Site
from sick import Sick
from takedown import OTHER_RULE, SETTINGS, SMALL

from pipeline.demo.web import Route, _Site, serve, write_site
from pipeline.demo.world import caption, draw, random_scene
from pipeline.engine.runner import Result
from pipeline.inspect.report.product import Report
from pipeline.inspect.report.write import write_report
from pipeline.measure import registry as stages

if TYPE_CHECKING:
    from clusters import Cluster

PICTURES = 36


@pytest.fixture(scope="module", autouse=True)
def no_report() -> Iterator[None]:
    """Runs in this process end without a report, which takes longer than such a run itself;
    tests/run/test_products.py has it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "of", classmethod(lambda cls, run, job: None))
        yield


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "www").mkdir()
    write_site(folder, {})
    rng = np.random.default_rng(5)
    with serve(folder) as url:
        rows = []
        for i in range(PICTURES):
            scene = random_scene(rng)
            path = folder / "www" / f"{i}.jpg"
            cv2.imwrite(str(path), draw(scene, rng, 96)[:, :, ::-1])
            rows.append({"url": f"{url}/{i}.jpg", "caption": caption(scene)})
        copy = {"url": f"{url}/copy.jpg", "caption": rows[0]["caption"]}
        (folder / "www" / "copy.jpg").write_bytes((folder / "www" / "0.jpg").read_bytes())
        rows.append(copy)
        dead = [{"url": f"{url}/gone{i}.jpg", "caption": "a cat of wool"} for i in range(3)]
        write_site(folder, {f"/gone{i}.jpg": Route(status=404) for i in range(3)})
        yield Site(url, folder, rows, dead)


@pytest.fixture
def lab(site: Site, tmp_path: Path) -> Lab:
    return Lab(site, tmp_path)


@pytest.fixture
def own(site: Site, tmp_path: Path) -> Iterator[Lab]:
    """A lab with its own site, whose pages a test may change."""
    folder = tmp_path / "site"
    shutil.copytree(site.folder / "www", folder / "www")
    with serve(folder) as url:

        def moved(rows: list[dict[str, str]]) -> list[dict[str, str]]:
            return [{**row, "url": row["url"].replace(site.url, url)} for row in rows]

        yield Lab(Site(url, folder, moved(site.rows), moved(site.dead)), tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths requested from sites that this process serves, without robots.txt."""
    paths: list[str] = []
    route = _Site.route

    def noting(self: _Site, path: str) -> tuple[Route, int]:
        if path not in ("/robots.txt", "/.well-known/tdmrep.json"):
            paths.append(path)
        return route(self, path)

    monkeypatch.setattr(_Site, "route", noting)
    return paths


@pytest.fixture
def alone(site: Site, tmp_path: Path) -> Lab:
    """On Dask: each run starts its own processes."""
    return Lab(site, tmp_path, DASK)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator["Cluster"]:
    """A Dask scheduler in a process of its own, without workers."""
    from clusters import Cluster

    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sick]:
    """Stages of another package, some of whose rows end their process."""
    found = Sick(tmp_path / "sick-stages")
    monkeypatch.syspath_prepend(found.site)
    monkeypatch.setenv("PYTHONPATH", str(found.site), prepend=":")
    stages.registered.cache_clear()
    yield found
    stages.registered.cache_clear()
    sys.modules.pop("sick_stages", None)


@pytest.fixture(scope="session")
def counts() -> Callable[[Result], dict[str, Any]]:
    from pipeline.inspect.stats import stats

    return lambda result: json.loads(json.dumps(stats(result.run), default=str))


@pytest.fixture(scope="session")
def rich(site, tmp_path_factory) -> Lab:
    """A run with every kind of part, and with parts and exports of earlier settings."""
    lab = Lab(site, tmp_path_factory.mktemp("rich"))
    rows = [
        {**row, "caption": f"{row['caption']}, no. {i}.", "licence": f"licence of row {i}."}
        for i, row in enumerate(site.rows)
    ]
    rows = [{**row, "uid": hashlib.md5(row["caption"].encode()).hexdigest()} for row in rows]
    # One row has another host name for the same address.
    for i in (4, 9):
        rows[i]["url"] = rows[i]["url"].replace("127.0.0.1", "localhost")
    lab.rows = [*rows, *({**row, "licence": "none", "uid": None} for row in site.dead)]
    job = lab.job(lab.rows, **SETTINGS)
    lab.run(job, SMALL)
    lab.run(job, OTHER_RULE)
    result = lab.run(job)
    write_report(result.run)
    lab.digest = result.digest
    return lab


@pytest.fixture
def copy(rich, tmp_path) -> Lab:
    """A copy of it, which a test may change."""
    lab = Lab(rich.site, tmp_path, rich.cluster)
    lab.rows, lab.digest = rich.rows, rich.digest
    shutil.copytree(rich.folder / "runs", tmp_path / "runs")
    lab.job(rich.rows, **SETTINGS)
    resolved = tmp_path / "runs" / "job" / "resolved.json"
    resolved.write_text(resolved.read_text().replace(str(rich.folder), str(tmp_path)))
    return lab
