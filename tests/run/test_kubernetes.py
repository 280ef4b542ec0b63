"""The manifests of deploy/kubernetes: schemas, what they say of each other, their commands.

No Kubernetes runs here. The commands do, with the service's name and the pods' folders replaced.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from clusters import ROOT, free_port, wait_for
from distributed import Security
from lab import Lab

from pipeline.config.load import load_job
from pipeline.shell.cli import app
from pipeline.words.endings import BUG, INCOMPLETE, INVALID

FOLDER = ROOT / "deploy" / "kubernetes"
ENV = dict(line.split("=", 1) for line in (FOLDER / "dask.env").read_text().splitlines())
CUSTOM = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: dict[tuple[str, str], Any] = {
    (one["kind"], one["metadata"]["name"]): one
    for name in CUSTOM["resources"]
    for one in yaml.safe_load_all((FOLDER / name).read_text())
}
PODS = {
    name: one["spec"]["template"] for (_, name), one in OBJECTS.items() if "template" in one["spec"]
}
ADDRESS = "tls://winnow-scheduler:8786"


def container(name: str) -> Any:
    (found,) = PODS[name]["spec"]["containers"]
    return found


@pytest.mark.parametrize("key", OBJECTS, ids=" ".join)
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_schemas(key: tuple[str, str], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    assert validate(OBJECTS[key], version, strict=True) == version


def test_a_wrong_manifest_is_found() -> None:
    check = pytest.importorskip("kubernetes_validate")
    wrong = yaml.safe_load(yaml.safe_dump(OBJECTS["Job", "winnow-run"]))
    wrong["spec"]["backofLimit"] = 5
    with pytest.raises(check.ValidationError, match="backofLimit"):
        check.validate(wrong, "1.31", strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_builds_them() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True
    )
    built = list(yaml.safe_load_all(done.stdout))
    assert {(one["kind"], one["metadata"]["name"]) for one in built} == {
        *OBJECTS, ("ConfigMap", "winnow-job"), ("ConfigMap", "winnow-dask"),
    }  # fmt: skip
    assert "image: winnow\n" not in done.stdout  # all are replaced by the registry's


def test_what_they_name_is_there() -> None:
    """Ports, labels, config maps, claims and mounts that refer to each other."""
    ports = {port["name"]: port["containerPort"] for port in container("winnow-scheduler")["ports"]}
    service = OBJECTS["Service", "winnow-scheduler"]["spec"]
    assert [(one["port"], ports[one["targetPort"]]) for one in service["ports"]] == [(8786, 8786)]
    labels = {name: pod["metadata"]["labels"] for name, pod in PODS.items()}
    chosen = [name for name in PODS if service["selector"].items() <= labels[name].items()]
    assert chosen == ["winnow-scheduler"]
    policy = OBJECTS["NetworkPolicy", "winnow"]["spec"]["podSelector"]["matchLabels"]
    assert all(policy.items() <= one.items() for one in labels.values())
    maps = {one["name"] for one in CUSTOM["configMapGenerator"]}
    claims = {name for kind, name in OBJECTS if kind == "PersistentVolumeClaim"}
    for name, pod in PODS.items():
        spec = pod["spec"]
        mounted = {one["name"] for c in spec["containers"] for one in c.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name
        for volume in spec["volumes"]:
            assert volume.get("configMap", {}).get("name", "winnow-job") in maps
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in claims
        for one in [*spec["containers"], *spec.get("initContainers", ())]:
            assert one["image"] == CUSTOM["images"][0]["name"]
            assert all(source["configMapRef"]["name"] in maps for source in one.get("envFrom", ()))


def test_they_agree_with_the_code() -> None:
    job = load_job(FOLDER / "job.yaml")
    mounts = {one["name"]: one["mountPath"] for one in container("winnow-compute")["volumeMounts"]}
    assert str(job.output).startswith(mounts["data"])
    run = container("winnow-run")["args"]
    assert run == ["run", "/job/job.yaml", "--scheduler", ADDRESS]
    options = typer.main.get_command(app).commands[run[0]].params
    assert run[2] in [word for option in options for word in option.opts]
    for kind in ("net", "compute"):
        assert f"--resources={kind}=1" in container(f"winnow-{kind}")["args"]
        assert container(f"winnow-{kind}")["args"][0] == ADDRESS
        names = {one["name"] for one in container(f"winnow-{kind}")["env"]}
        assert names >= {"WINNOW_THREADS", "POD", "MEMORY"}
    rules = OBJECTS["Job", "winnow-run"]["spec"]["podFailurePolicy"]["rules"]
    (ends,) = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    assert ends == [BUG, INVALID]
    assert INCOMPLETE not in ends
    assert not any("0.0.0.0" in word for name in PODS for word in container(name)["args"])


@pytest.fixture
def pods(tmp_path: Path) -> Iterator["Pods"]:
    pods = Pods(tmp_path)
    yield pods
    for process in reversed(pods.started):
        process.terminate()
        process.wait(timeout=30)


class Pods:
    """Starts containers' commands as processes here."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.started = folder, free_port(), []
        (folder / "tls").mkdir()
        made = Security.temporary()  # as docs/cluster.md makes the secret
        (folder / "tls" / "cert.pem").write_text(made.tls_client_cert)
        (folder / "tls" / "key.pem").write_text(made.tls_client_key)
        self.env = {
            **os.environ,
            **{name: value.replace("/tls/", f"{folder}/tls/") for name, value in ENV.items()},
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }

    def words(self, one: Any, name: str) -> list[str]:
        values = {"POD": f"{name}-0", "MEMORY": str(2 << 30)}
        words = [*one.get("command", [sys.executable, "-m", "pipeline"]), *one["args"]]
        words = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in words]
        here = {
            "winnow-scheduler": "127.0.0.1",
            "8786": str(self.port),
            ":8787": "127.0.0.1:0",
            "/job/": f"{self.folder}/",
        }
        for there, mine in here.items():
            words = [word.replace(there, mine) for word in words]
        return words

    def start(self, name: str) -> None:
        one = container(name)
        more = ["--host", "127.0.0.1"] if name == "winnow-scheduler" else []
        env = self.env | {e["name"]: "1" for e in one.get("env", ()) if "THREADS" in e["name"]}
        with (self.folder / f"{name}.log").open("wb") as log:
            words = [*self.words(one, name), *more]
            self.started.append(subprocess.Popen(words, env=env, stdout=log, stderr=log))


def test_their_commands_run_a_job(alone: Lab, pods: Pods) -> None:
    (waits,) = PODS["winnow-run"]["spec"]["initContainers"]
    init = subprocess.Popen(pods.words(waits, "winnow-run"), env=pods.env)
    pods.started.append(init)
    assert init.poll() is None
    pods.start("winnow-scheduler")
    wait_for(lambda: init.poll() == 0, "the scheduler")
    alone.job()
    run = subprocess.Popen(
        pods.words(container("winnow-run"), "winnow-run"), env=pods.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    pods.started.append(run)
    pods.start("winnow-net")
    pods.start("winnow-compute")
    out, _ = run.communicate(timeout=200)
    assert run.returncode == 0, out
    assert "36 kept" in out
