"""The tutorial's commands run, in order, and print what the text says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The output of each block, stdout and stderr."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "configs").symlink_to(ROOT / "configs")
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "COLUMNS": "120"}
    said = []
    for block in BLOCKS:
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
        said.append(result.stdout + result.stderr)
    return said


def _block(outputs: list[str], start: str) -> str:
    return next(
        out for block, out in zip(BLOCKS, outputs, strict=True) if block.lstrip().startswith(start)
    )


def test_the_demo_prints_scores_and_paths_at_its_end(outputs):
    out = _block(outputs, "winnow demo")
    assert "against the planted truth" in out
    assert re.search(r"report: runs/demo/report\.html|report: .*/runs/demo/report\.html", out)


def test_explain_names_the_rule_and_the_number(outputs):
    out = _block(outputs, "UID_=")
    assert "low_clip_score" in out
    assert "clip_score < 0.4" in out


def test_plan_says_that_only_the_verdicts_are_to_do(outputs):
    lines = _block(outputs, "winnow plan").splitlines()
    todo = [line.split()[0] for line in lines if re.match(r"\w+ +([1-9]\d* of \d+|\?) ", line)]
    assert todo == ["decide", "export"]
    assert any("rules[9].when: clip_score < 0.4 → clip_score < 0.5" in line for line in lines)


def test_all_rows_of_the_users_list_have_a_reason(outputs):
    out = _block(outputs, "cat > pairs.csv")
    for reason in ("address_forbidden", "url_missing", "pii"):
        assert reason in out


def test_a_row_is_tried_again_and_one_is_taken_down(outputs):
    assert "1 row matched" in _block(outputs, "winnow retry")
    out = _block(outputs, "winnow forget")
    assert "1 row would be forgotten" in out
    assert "1 row forgotten" in out
    assert "dog.jpg" not in out.rsplit("tombstones: ", 1)[1].split("reason", 1)[1]
