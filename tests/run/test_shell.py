"""What the command line prints of itself."""

import json
import subprocess
import sys

import pytest
import yaml
from lab import Lab


def winnow(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    ended = winnow("--version")
    assert (ended.stdout, ended.returncode) == (f"winnow {version('winnow-curation')}\n", 0)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_the_commands(shell: str, monkeypatch: pytest.MonkeyPatch):
    # Else Typer looks for a shell among the parents of this process, where there may be none.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ended = winnow("--show-completion", shell)
    assert (ended.returncode, "_COMPLETE=" in ended.stdout) == (0, True)


def test_the_schema_holds_every_key_of_a_job(lab: Lab):
    schema = json.loads(winnow("schema").stdout)
    job = yaml.safe_load(lab.job().read_text())
    assert set(job) <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    download = schema["$defs"]["DownloadConfig"]["properties"]
    assert set(job["download"]) <= set(download)
    assert all(key.get("description") for key in download.values())
