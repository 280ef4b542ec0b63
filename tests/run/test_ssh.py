"""Clusters that are started by ssh, as docs/cluster.md does: by `dask ssh`, and by hand with TLS.

The server of ssh is on loopback, with keys of its own.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster_page import adapted, block
from clusters import ROOT, as_environment, certificates, free_port, wait_for
from lab import Lab
from test_cluster_page import ENV, shell

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


def page(text: str, ssh: Ssh, **places: str) -> str:
    """Lines of the page, with this server for its hosts."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    server = f"ssh -i {ssh.key} -p {ssh.port} {options} -tt 127.0.0.1"
    text = re.sub(r"ssh -tt node\d", server, text)
    text = text.replace("dask scheduler", f"{sys.executable} -m dask scheduler --port 0")
    text = text.replace("dask worker", f"{sys.executable} -m dask worker")
    return adapted(text, **places)


@pytest.mark.skipif(find_spec("paramiko") is None, reason="`dask ssh` needs paramiko")
def test_dask_ssh(alone: Lab, ssh: Ssh) -> None:
    port = str(free_port())
    alone.job()
    text = block("dask ssh node0")
    ways = f"--ssh-port {ssh.port} --ssh-private-key {ssh.key} --scheduler-port {port}"
    text = adapted(
        text, **{"node0 node1 node2": f"127.0.0.1 {ways}", "node0": "127.0.0.1", "8786": port}
    )
    wait = f"until (echo > /dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.5; done\nwinnow run"
    code, out = shell(adapted(text, **{"winnow run": wait}), alone.folder)
    assert code == 0, out
    assert "36 kept" in out


def test_by_hand_with_tls_and_two_kinds(alone: Lab, ssh: Ssh) -> None:
    """Both workers are needed, and each gets its kind's tasks only."""
    settings = certificates(alone.folder / "tls")
    alone.job()
    text = page(
        block("TLS="),
        ssh,
        **{"/shared": str(alone.folder), "--host node0": "--host 127.0.0.1", "8GiB": "2GiB"},
    )
    file = alone.folder / "scheduler.json"
    wait = f"until test -s {file}; do sleep 0.5; done\nwinnow run"
    text = adapted(text, **{"winnow run": wait})
    code, out = shell(text, alone.folder, ENV | as_environment(settings))
    assert code == 0, out
    assert "36 kept" in out
