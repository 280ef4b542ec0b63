"""Files in the working folder are never executed, whatever their names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from planted import executed, plant

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
# Like a script of pip: Python puts the script's folder first on its path, not the working folder.
SCRIPT = """
import sys
from pipeline.shell.cli import entry

if __name__ == "__main__":
    sys.exit(entry())
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "bin" / "winnow"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    return path


def _winnow(script, cwd, *words):
    command = [sys.executable, str(script), *words]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=180
    )


def test_a_run_imports_nothing_from_the_working_folder(alone, script, tmp_path):
    job = alone.job()
    folder = plant(tmp_path / "here")

    ended = _winnow(script, folder, "run", str(job), "--set", "cluster.compute_workers=1")

    assert executed(folder) == []
    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout  # every good picture, decoded by our own modules


LIBRARY = """
import json, sys
from pathlib import Path
from pipeline.config.load import load_job
from pipeline.demo.world.many import draw_many
from pipeline.words.progress import Lines
from pipeline.engine.runner import execute, prepare

if __name__ == "__main__":
    pixels, _ = draw_many(300, seed=0, processes=2)
    path = Path(sys.argv[1])
    job = load_job(path, ["cluster.compute_workers=1"])
    result = execute(prepare(job), path, Lines(sys.stderr))
    print(len(pixels), len(result.quarantined), result.export is not None)
"""


def test_a_run_started_from_python_imports_nothing_from_the_working_folder(alone, tmp_path):
    """A notebook does not call the command, and so not its setup either."""
    job = alone.job(alone.site.rows[:3])
    folder = plant(tmp_path / "here")
    script = tmp_path / "library.py"
    script.write_text(LIBRARY)

    ended = _winnow(script, folder, str(job))

    assert executed(folder) == []
    assert ended.stdout.split() == ["300", "0", "True"], ended.stderr
