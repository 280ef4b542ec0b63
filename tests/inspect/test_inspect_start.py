"""Commands that only read start fast: they import no package that only other commands need."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "dask", "distributed", "scipy", "sklearn", "img2dataset", "pandas", "faiss")
COMMAND = f"""
import sys
from pipeline.shell.cli import entry
sys.argv = ["winnow", *sys.argv[1:]]
try:
    entry()
except SystemExit as end:
    print(end.code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
JOB = """
input: {folder}/list.csv
output: {folder}
captions: {{toxicity: null, language: false}}
images: {{nsfw: null}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "stats", "plan", "explain", "sql"])
def test_reading_commands_import_no_heavy_package(made, tmp_path: Path, command: str):
    words = [made.run.folder.url]
    if command == "plan":
        (tmp_path / "list.csv").write_text("url,caption\nhttps://a.example/1.jpg,a cat\n")
        (tmp_path / "job.yaml").write_text(JOB.format(folder=tmp_path))
        words = [str(tmp_path / "job.yaml")]
    words += {"explain": [made.row(0)["uid"]], "sql": ["select count(*) from samples"]}.get(
        command, []
    )
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, command, *words], capture_output=True, text=True, check=True
    )
    assert ended.stderr.splitlines()[-1] == "0 []", ended.stderr
