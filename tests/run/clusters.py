"""Dask clusters in processes of their own, and certificates for them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from distributed import Security

from pipeline.config.sections import ClusterConfig

ROOT = Path(__file__).parents[2]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
TLS = "distributed.comm.tls"


class Cluster:
    """A scheduler and, once they are started, workers; `close` ends them."""

    def __init__(
        self, folder: Path, env: Mapping[str, str] | None = None, *words: str, first: str = ""
    ) -> None:
        self.file = folder / "scheduler.json"
        self.env = env or {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", *words, first=first)
        end = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < end
            time.sleep(0.05)

    def start(self, what: str, *words: str, first: str = "") -> subprocess.Popen[bytes]:
        """`dask scheduler` or `dask worker`, after the Python code `first`."""
        code = f"{first}\nfrom distributed.cli.dask_{what} import main; main()"
        command = [sys.executable, "-c", code, "--scheduler-file", str(self.file), *words]
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        process = subprocess.Popen(
            [*command, "--no-dashboard"], env={**os.environ, **path, **self.env}, **QUIET
        )
        self.processes.append(process)
        return process

    def worker(self, *words: str, first: str = "") -> subprocess.Popen[bytes]:
        return self.start("worker", "--nthreads", "1", "--no-nanny", *words, first=first)

    def config(self, **limits: float) -> ClusterConfig:
        return ClusterConfig(scheduler=str(self.file), **limits)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"{what} did not come in {seconds:g} s"
        time.sleep(0.2)


def certificates(folder: Path) -> dict[str, str]:
    """Dask's settings for a new key and its certificate, in files of a new folder."""
    folder.mkdir()
    secret = Security.temporary()
    (folder / "cert.pem").write_text(secret.tls_client_cert)
    (folder / "key.pem").write_text(secret.tls_client_key)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    found = {f"{TLS}.ca-file": cert}
    for role in ("client", "scheduler", "worker"):
        found |= {f"{TLS}.{role}.cert": cert, f"{TLS}.{role}.key": key}
    return found


def as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings as Dask reads them from the environment."""
    return {
        "DASK_" + key.replace(".", "__").replace("-", "_").upper(): value
        for key, value in settings.items()
    }
