"""The fast tier covers most test files but leaves out many tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_the_fast_tier_covers_most_test_files():
    words = [sys.executable, "-m", "pytest", "--collect-only", "-o", "addopts=", "-qm", "not slow"]
    ran = subprocess.run(words, cwd=TESTS.parent, capture_output=True, text=True, check=True)
    fast = {line for line in ran.stdout.splitlines() if "::" in line}
    files = {line.split("::")[0] for line in fast}
    folders = {path.split("/")[1] for path in files if path.count("/") > 1}
    [(chosen, of, left_out)] = re.findall(r"(\d+)/(\d+) tests collected \((\d+) dese", ran.stdout)
    assert int(chosen) == len(fast) > int(of) / 2
    assert int(left_out) > 100, "the slow folders are not even collected"
    assert folders == {"demo", "fetch", "inspect", "pipeline", "train"}
    assert len(files) > len(list(TESTS.rglob("test_*.py"))) / 2
