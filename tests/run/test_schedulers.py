"""What answers at `cluster.scheduler`: nothing, something else, a scheduler of other settings."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dask
import pytest
from clusters import Cluster, as_environment, certificates

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors import probing
from pipeline.engine.executors.dask import open_dask
from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import InputError

ELSE = "or leave `cluster.scheduler` out to run here"


def work() -> TimedResult:
    return TimedResult({}, 1, {})


def refused(scheduler: str) -> str:
    """The line with which a scheduler is refused, after its name."""
    with (
        pytest.raises(InputError) as caught,
        open_dask(ClusterConfig(scheduler=scheduler), print),
    ):
        pass
    start, end = f"cluster.scheduler: {scheduler}: ", f", {ELSE}"
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(start), line
    assert line.endswith(end), line
    return line.removeprefix(start).removesuffix(end)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_GREETING", 1.0)
    monkeypatch.setattr(probing, "_HANDSHAKE", 1.0)


@contextlib.contextmanager
def _server(talk: Callable[[socket.socket], Any]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_ = []

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    open_.append(server.accept()[0])
                    talk(open_[-1])

        threading.Thread(target=run, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("talk", "what"),
    [
        (lambda one: None, "it says nothing"),
        (lambda one: one.close(), "it closes the connection"),
        (lambda one: one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "it speaks another protocol"),
        (lambda one: one.sendall(b"220 x\r\n"), "it says nothing"),
    ],
    ids=["silent", "closing", "banner", "short banner"],
)
def test_another_server(talk: Callable[[socket.socket], Any], what: str) -> None:
    with _server(talk) as address:
        assert refused(f"tcp://{address}") == (
            f"what listens there is no Dask scheduler: {what}; start one"
        )


def test_a_web_server(alone: Any) -> None:
    """The whole command, with the usual limits."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    address = f"tcp://127.0.0.1:{server.server_port}"
    started = time.monotonic()

    ended = alone.winnow("run", str(alone.job(cluster={"scheduler": address})))

    server.shutdown()
    server.server_close()
    assert time.monotonic() - started < 15
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        f"winnow: cluster.scheduler: {address}: what listens there is no Dask scheduler: "
        f"it says nothing; start one, {ELSE}"
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "tcp://127.0.0.1:1"])
def test_nobody_listens(address: str) -> None:
    with (
        pytest.raises(InputError) as caught,
        open_dask(ClusterConfig(scheduler=address), print),
    ):
        pass
    expected = f"cluster.scheduler: no Dask scheduler answers at {address}; start one, {ELSE}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("address", ["tcp://nowhere", "gopher://127.0.0.1:1", "tcp://[::1"])
def test_no_address(address: str) -> None:
    assert "ValueError: " in refused(address)


def test_a_file_that_is_no_scheduler_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    with (
        pytest.raises(InputError) as caught,
        open_dask(ClusterConfig(scheduler=str(tmp_path / "file")), print),
    ):
        pass
    assert str(caught.value) == (
        f"cluster.scheduler: {tmp_path}/file is no scheduler file (KeyError: 'address'); "
        "`dask scheduler --scheduler-file` writes one"
    )


def _address(cluster: Cluster) -> str:
    return str(json.loads(cluster.file.read_text())["address"])


def test_tls(tmp_path: Path) -> None:
    mine, others = certificates(tmp_path / "mine"), certificates(tmp_path / "others")
    secret = Cluster(tmp_path, as_environment(mine), "--protocol", "tls")
    names = "name its certificates in Dask's configuration (`distributed.comm.tls`)"
    try:
        secret.worker()
        address = _address(secret)
        assert address.startswith("tls://")
        assert refused(address) == f"TLS needs certificates; {names}"
        plain = address.replace("tls://", "tcp://")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probing, "_GREETING", 1.0)
            assert refused(plain) == f"what listens there speaks TLS; write tls:// and {names}"
        with dask.config.set(others):
            line = refused(address)
            assert line.startswith("TLS fails (SSLCertVerificationError: ")
            assert line.endswith(names)
        with (
            dask.config.set(mine),
            open_dask(secret.config(worker_timeout=60), print) as executor,
        ):
            executor.submit(work)
            assert executor.next()[1] == work()
    finally:
        secret.close()


def test_tls_where_there_is_none(cluster: Cluster, tmp_path: Path) -> None:
    address = _address(cluster)
    with dask.config.set(certificates(tmp_path / "mine")):
        assert refused(address.replace("tcp://", "tls://")) == (
            "what listens there does not speak TLS; write tcp:// for a scheduler that does not"
        )
    with dask.config.set({"distributed.comm.require-encryption": True}):
        assert refused(address) == (
            "Dask's configuration here demands encryption, which tcp:// has not; "
            "name a scheduler at tls://"
        )


OTHER = """
import distributed.versions as versions
true = versions.get_package_info
versions.get_package_info = lambda packages: {{**true(packages), **{}}}
"""


def test_other_versions(cluster: Cluster, tmp_path: Path, capfd: Any) -> None:
    here = versions()
    worker = cluster.worker(first=OTHER.format({"python": "3.9.1.final.0"}))
    with pytest.raises(InputError) as caught, open_dask(cluster.config(), print):
        pass
    assert f" has Python 3.9 (here {here[0]}); start all from one environment, " in str(
        caught.value
    )
    assert f"cluster.scheduler: {cluster.file}: its worker tcp://127.0.0.1:" in str(caught.value)
    worker.kill()
    (tmp_path / "other").mkdir()
    other = Cluster(tmp_path / "other", first=OTHER.format({"dask": "2020.1.0"}))
    try:
        assert refused(str(other.file)) == (
            f"the scheduler has dask 2020.1.0 (here {here[1]}); start all from one environment"
        )
    finally:
        other.close()
    assert "Mismatch" not in capfd.readouterr().err


def versions() -> tuple[str, str]:
    return "{}.{}".format(*sys.version_info), dask.__version__


def test_a_run_on_a_cluster_that_ends_well_prints_nothing_of_dasks(
    alone: Any,
    cluster: Cluster,
) -> None:
    cluster.worker()

    ended = alone.winnow("run", str(alone.job(cluster={"scheduler": str(cluster.file)})))

    assert ended.returncode == 0, ended.stderr
    for word in ("Traceback", "distributed", "tornado", "asyncio", "Warning"):
        assert word not in ended.stderr


# The local cluster.


def test_the_local_cluster_asks_for_a_key(tmp_path: Path) -> None:
    """Other accounts of this machine reach its address too."""
    with open_dask(ClusterConfig(), print) as executor:
        address = executor._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        workers = executor._client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) >= 2
        for worker in workers.values():
            assert worker["nanny"].startswith("tls://127.0.0.1:")
        with dask.config.set(certificates(tmp_path / "others")):
            assert refused(address).startswith("TLS fails (SSLCertVerificationError: ")
        assert executor.dashboard is not None
        with urllib.request.urlopen(executor.dashboard, timeout=20) as page:
            assert page.status == 200


def test_a_configuration_that_demands_encryption(alone: Any) -> None:
    env = os.environ | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}

    ended = alone.winnow("run", str(alone.job()), env=env)

    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout
