"""The run's `job.yaml` and `log.jsonl`: whether they are whole, and what can be made of them.

`resolved.json` holds the checksum of `job.yaml`, and each line of the log its own. Nothing else of
a run is made from either.
"""

import hashlib
import time
from pathlib import Path

import yaml

from pipeline.table.checked import CHANGED, CUT, MISSING
from pipeline.table.run import JOB_SUM, NOT_SETTINGS, Run
from pipeline.table.runlog import NAME as LOG
from pipeline.table.runlog import has_sums, log_line, whole_lines
from pipeline.words.errors import DamagedError

JOB = "job.yaml"


def unchecked(run: Run) -> list[str]:
    """Those of the two that an earlier version wrote without checksums."""
    log = run.folder.read(LOG) if run.folder.exists(LOG) else b""
    return ([] if has_sums(log) else [LOG]) + ([JOB] if _job_sum(run) is None else [])


def job_damage(run: Run) -> str | None:
    """What is wrong with `job.yaml`; None also where its checksum is not known."""
    if (sum_ := _job_sum(run)) is None:
        return None
    try:
        return None if _sha256(run.folder.read(JOB)) == sum_ else CHANGED
    except FileNotFoundError:
        return MISSING


def log_damage(run: Run) -> str | None:
    """What is wrong with `log.jsonl`: a finished run with shards has one, of whole lines."""
    try:
        data = run.folder.read(LOG)
    except FileNotFoundError:
        data = None
    if not data:
        return (MISSING if data is None else CUT) if _is_finished(run) else None
    if not data.endswith(b"\n"):
        return CUT
    lines = data.splitlines()
    return None if len(whole_lines(data)) == len(lines) else CHANGED


def heal_loose(run: Run, name: str) -> str | None:
    """Write one of the two anew from what is left: a line that says what is lost; None for any
    other file."""
    if name == LOG:
        return _heal_log(run)
    return _heal_job(run) if name == JOB else None


def _heal_log(run: Run) -> str:
    data = run.folder.read(LOG) if run.folder.exists(LOG) else b""
    kept = whole_lines(data)
    lost = len(data.splitlines()) - len(kept)
    note = {"time": round(time.time(), 3), "event": "mended", "kept": len(kept), "lost": lost}
    lines = [*kept, log_line(note).encode()]
    run.folder.write(LOG, b"".join(line + b"\n" for line in lines))
    return (
        f"{LOG} was written again with the {len(kept):,} lines that are whole; what else it told "
        "of tasks and times is lost, and nothing is made of it"
    )


def _heal_job(run: Run) -> str:
    given = run.job.get("job_file")
    if given and Path(given).is_file():
        data = Path(given).read_bytes()
        if _sha256(data) == _job_sum(run):
            run.folder.write(JOB, data)
            return f"{JOB} was written again from {given}: nothing is lost"
    values = {name: value for name, value in run.job.items() if name not in NOT_SETTINGS}
    head = "# Written by `winnow verify --mend` from resolved.json: the file as given was lost.\n"
    data = (head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)).encode()
    run.folder.write(JOB, data)
    run.write_job({**run.job, JOB_SUM: _sha256(data)})
    return f"{JOB} was written again from resolved.json; its comments and its order are lost"


def _job_sum(run: Run) -> str | None:
    try:
        return run.job.get(JOB_SUM)
    except (DamagedError, FileNotFoundError):
        return None


def _is_finished(run: Run) -> bool:
    try:
        return bool(run.state.get("finished") and run.index)
    except DamagedError:
        return False


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


LOOSE = {JOB: job_damage, LOG: log_damage}
"""What finds the damage of each."""
