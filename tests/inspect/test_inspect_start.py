"""Commands that only read, and a new threshold, import no package that only others need."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch", "dask", "distributed", "scipy", "sklearn", "img2dataset", "pandas", "faiss", "cv2",
    "phonenumbers", "validators", "regex",
)  # fmt: skip
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
download: {{only_if: "false"}}
audit_fraction: 0
rules: [{{reason: caption_short, when: caption_words < {words}}}]
"""


def run_command(*words: str) -> str:
    """The last line on stderr: the exit code and the heavy packages that were imported."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True
    )
    return ended.stderr.splitlines()[-1]


def write_job(folder: Path, words: int = 1) -> str:
    if not (folder / "list.csv").exists():
        (folder / "list.csv").write_text("url,caption\nhttps://a.example/1.jpg,a cat\n")
    (folder / "job.yaml").write_text(JOB.format(folder=folder, words=words))
    return str(folder / "job.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "stats", "plan", "explain", "sql"])
def test_reading_commands_import_no_heavy_package(made, tmp_path: Path, command: str):
    words = [made.run.folder.url]
    if command == "plan":
        words = [write_job(tmp_path)]
    words += {"explain": [made.row(0)["uid"]], "sql": ["select count(*) from samples"]}.get(
        command, []
    )
    assert run_command(command, *words) == "0 []"


def test_a_new_threshold_imports_no_heavy_package(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "pipeline", "run", write_job(tmp_path)],
        capture_output=True, check=True,
    )  # fmt: skip
    assert run_command("run", write_job(tmp_path, words=5), "--json") == "0 []"
    assert run_command("run", write_job(tmp_path, words=5), "--json") == "0 []"
