"""docs/cluster.md: its commands run, and what it names exists.

test_ssh.py and test_slurm.py run the blocks of their sections.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from cluster_page import PAGE, adapted, block
from clusters import ROOT, free_port
from distributed import Security
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_ssh import main as dask_ssh
from distributed.cli.dask_worker import main as dask_worker
from lab import Lab
from test_kubernetes import OBJECTS, PODS

from pipeline.config.job import Job
from pipeline.shell.cli import app

BIN = str(Path(sys.executable).parent)
ENV = {
    **os.environ,
    "PATH": os.pathsep.join([BIN, os.environ["PATH"]]),
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
}


def shell(text: str, folder: Path, env: dict[str, str] = ENV) -> tuple[int, str]:
    """Run lines of a page; what they have left running is ended with them."""
    with (folder / "shell.log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            code = shell.wait(timeout=200)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    return code, (folder / "shell.log").read_text()


def test_the_key(tmp_path: Path) -> None:
    code, out = shell(block("umask"), tmp_path)
    assert code == 0, out
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("*.pem")}
    assert modes == {"cert.pem": "0o600", "key.pem": "0o600"}
    settings = yaml.safe_load(
        adapted(block("distributed:", "yaml"), **{"/shared/tls": str(tmp_path)})
    )
    (tmp_path / "tls.yaml").write_text(yaml.safe_dump(settings))
    show = "from distributed import Security; print(*Security().get_tls_config_for_role('worker'))"
    code, out = shell(f'python -c "{show}"', tmp_path, ENV | {"DASK_CONFIG": str(tmp_path)})
    assert (code, out.split()) == (0, ["ca_file", "ciphers", "cert", "key"]), out
    assert Security.temporary().tls_client_cert.startswith("-----BEGIN CERTIFICATE")


def test_a_scheduler_that_stands(alone: Lab) -> None:
    port = str(free_port())
    alone.job()
    text = adapted(block("dask scheduler --host"), **{"8786": port})
    code, out = shell(text, alone.folder)
    assert code == 0, out
    assert "36 kept" in out


def test_options_of_dask() -> None:
    mains = {"scheduler": dask_scheduler, "worker": dask_worker, "ssh": dask_ssh}
    seen = set()
    for line in re.findall(r"^.*\bdask (?:scheduler|worker|ssh) .*$", PAGE, re.MULTILINE):
        if line.startswith(("docker", "|")) or "`" in line:
            continue
        name, rest = re.search(r"\bdask (\w+) (.*)", line).groups()  # type: ignore[union-attr]
        known = {
            word for option in mains[name].params for word in option.opts + option.secondary_opts
        }
        words = [word for word in shlex.split(rest) if word.startswith("--")]
        assert set(words) <= known, line
        seen.add(name)
    assert seen == set(mains)
    flags = re.findall(r"^\| `(--[\w-]+)", PAGE, re.MULTILINE)
    assert len(flags) == 4
    assert set(flags) <= {word for option in dask_worker.params for word in option.opts}


def test_keys_and_options_of_winnow() -> None:
    fields: dict[str, Any] = dict(Job.model_fields)
    named = set(re.findall(r"\b(cluster|download)\.(\w+)", PAGE.replace("distributed.", "")))
    assert {key for _, key in named} >= {"worker_timeout", "stall_timeout", "executor"}
    for section, key in named:
        assert key in fields[section].annotation.model_fields, f"{section}.{key}"
    run = typer.main.get_command(app).commands["run"]
    known = {word for option in run.params for word in option.opts}
    lines = re.findall(r"^winnow run (.*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        assert {word for word in line.split() if word.startswith("--")} <= known, line


def test_what_kubectl_is_told() -> None:
    text = block("kubectl create namespace")
    assert ("Job", re.search(r"job/(\S+)", text)[1]) in OBJECTS  # type: ignore[index]
    assert ("Deployment", re.search(r"deployment (\S+)", text)[1]) in OBJECTS  # type: ignore[index]
    secret = re.search(r"secret generic (\S+)", text)[1]  # type: ignore[index]
    for name, pod in PODS.items():
        (tls,) = [one["secret"] for one in pod["spec"]["volumes"] if "secret" in one]
        assert tls["secretName"] == secret, name
    keys = set(re.findall(r"--from-file=(\S+)", text))
    read = re.findall(r"=/tls/(\S+)", (ROOT / "deploy" / "kubernetes" / "dask.env").read_text())
    assert set(read) == keys == {"cert.pem", "key.pem"}
    assert (ROOT / re.search(r"apply -k (\S+)", text)[1]).is_dir()  # type: ignore[index]
    for version in re.findall(r"1\.\d\d", re.search(r"schemas of .*", PAGE)[0]):  # type: ignore[index]
        assert f'"{version}"' in (ROOT / "tests" / "run" / "test_kubernetes.py").read_text()


@pytest.mark.parametrize("word", ["EXTRAS", "MORE", "PIP_EXTRA_INDEX_URL"])
def test_what_docker_is_told(word: str) -> None:
    assert f"\nARG {word}" in (ROOT / "Dockerfile").read_text()
    assert word in PAGE
