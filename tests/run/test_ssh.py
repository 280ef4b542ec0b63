"""Clusters that are started by ssh: by `dask ssh`, and by hand with TLS and two kinds of workers.

The server of ssh is on loopback, with keys of its own.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from clusters import ROOT, as_environment, certificates, free_port, wait_for
from distributed import Client
from lab import Lab

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
SEPARATE = Path("/run/sshd")
"""Where root's sshd has its other half look; empty, and made by Debian's service."""
CONF = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv PYTHONPATH={path}
"""

pytestmark = pytest.mark.skipif(SSHD is None, reason="apt-get install openssh-server: no sshd")


class Ssh:
    """A server of ssh on loopback."""

    def __init__(self, folder: Path) -> None:
        assert SSHD is not None
        folder.mkdir(mode=0o700)
        self.folder, self.port, self.key = folder, free_port(), folder / "user"
        for name in ("host", "user"):
            words = ["-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(["ssh-keygen", *words], check=True)
        path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        text = CONF.format(port=self.port, folder=folder, path=path)
        (folder / "sshd_config").write_text(text)
        self.made = not SEPARATE.exists()
        SEPARATE.mkdir(mode=0o755, exist_ok=True)
        with (folder / "sshd.log").open("wb") as log:
            self.server = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log
            )
        wait_for(self._answers, "sshd")

    def _answers(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """A command over there; it ends with its connection."""
        options = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
        flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
        with (self.folder / "ssh.log").open("ab") as log:
            return subprocess.Popen(
                ["ssh", "-tt", "-i", self.key, "-p", str(self.port), *flags, "127.0.0.1", *words],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=20)
        if self.made:
            SEPARATE.rmdir()


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Ssh]:
    ssh = Ssh(tmp_path / "ssh")
    yield ssh
    ssh.close()


def has_workers(count: int, **words: Any) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            with Client(**words, set_as_default=False, timeout="2s") as client:
                return len(client.scheduler_info(n_workers=-1)["workers"]) == count
        except OSError:
            return False

    return ask


def goes_away(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.skipif(find_spec("paramiko") is None, reason="`dask ssh` needs paramiko")
def test_dask_ssh(alone: Lab, ssh: Ssh) -> None:
    port = free_port()
    words = [
        "ssh",
        "127.0.0.1",
        "--scheduler-port",
        str(port),
        "--nworkers",
        "2",
        "--nthreads",
        "1",
    ]
    words += ["--ssh-port", str(ssh.port), "--ssh-private-key", str(ssh.key)]
    with (ssh.folder / "dask-ssh.log").open("wb") as log:
        cluster = subprocess.Popen(
            [sys.executable, "-m", "dask", *words], stdout=log, stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        )  # fmt: skip
    address = f"tcp://127.0.0.1:{port}"
    try:
        wait_for(has_workers(2, address=address), "two workers")
        ended = alone.winnow("run", str(alone.job()), "--scheduler", address)
    finally:
        cluster.send_signal(2)
        cluster.wait(timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout
    wait_for(lambda: goes_away(port), "the scheduler's end")


def test_by_hand_with_tls_and_two_kinds(alone: Lab, ssh: Ssh) -> None:
    """The commands of docs/cluster.md; one worker of each kind, and the one that fetches joins
    last."""
    settings = certificates(alone.folder / "tls")
    ca, cert, key = (
        str(alone.folder / "tls" / name) for name in ("cert.pem", "cert.pem", "key.pem")
    )
    tls = ["--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key]
    file = alone.folder / "scheduler.json"
    python, where = sys.executable, ["--scheduler-file", str(file), *tls]
    parts = [
        ssh.start(
            python, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
            "--protocol", "tls", "--no-dashboard", *where,
        )
    ]  # fmt: skip
    try:
        wait_for(file.exists, "the scheduler")
        for kind in ("compute", "net"):
            words = ["--nthreads", "1", "--resources", f"{kind}=1", "--no-dashboard", *where]
            parts.append(ssh.start(python, "-m", "dask", "worker", *words))
        env = os.environ | as_environment(settings)
        ended = alone.winnow("run", str(alone.job()), "--scheduler", str(file), env=env)
        assert ended.returncode == 0, ended.stderr
        assert "36 kept" in ended.stdout
        ended = alone.winnow(
            "retry", str(alone.folder / "runs" / "job"), "--where", "status = 'failed'"
        )
        assert ended.returncode == 2, ended.stderr  # the scheduler asks for certificates
        assert "TLS needs certificates" in ended.stderr
    finally:
        for part in reversed(parts):
            part.terminate()
            part.wait(timeout=30)
