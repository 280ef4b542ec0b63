"""The fast tier covers most test files but leaves out many tests."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def _collected(*words: str) -> set[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-o", "addopts=", "-q", *words]
    ran = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=True)
    return {line for line in ran.stdout.splitlines() if "::" in line}


@pytest.mark.slow
def test_the_fast_tier_covers_most_test_files():
    fast, every = _collected("-m", "not slow"), _collected()
    files = {line.split("::")[0] for line in fast}
    folders = {path.split("/")[1] for path in files if path.count("/") > 1}
    assert fast < every
    assert len(fast) > len(every) / 2
    assert len(every) - len(fast) > 300
    assert folders == {"demo", "fetch", "inspect", "objects", "pipeline", "train"}
    assert len(files) > len(list(TESTS.rglob("test_*.py"))) / 2
