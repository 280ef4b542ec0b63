"""Damaged files of a training, and what can be done without training again.

The sidecar `train/train.json` names the model's files and the marker. This is about the others: the
states that a training goes on from, and the log of losses.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from pipeline.config.training import TrainConfig
from pipeline.table.checked import CHANGED, MISSING, damaged_files, is_whole
from pipeline.table.part import Sidecar, recorded
from pipeline.table.run import Run
from train.folder import read_json
from train.states import damaged_states

TRAIN, CHECKPOINTS = "train", "train/checkpoints"
LOG, MARKER, NOTES = "log.jsonl", "done.json", "training.json"


def damage(run: Run) -> dict[str, str]:
    """What is wrong with damaged states and the log, by path in the run folder."""
    root, folder = run.folder.local_path, run.folder.sub(TRAIN)
    if root is None:
        return {}
    states = damaged_states(Path(root) / CHECKPOINTS)
    found = {path.relative_to(root).as_posix(): what for path, what in states.items()}
    record = recorded(folder, TRAIN)
    sum_ = record.summary.get(LOG) if record is not None else None
    if sum_ is not None and not is_whole(folder, LOG, sum_):
        found[f"{TRAIN}/{LOG}"] = CHANGED if folder.exists(LOG) else MISSING
    return found


def heal(run: Run, file: str) -> str | None:
    """Remove a damaged state or log, or write the marker again: a line that says what is lost.

    None for any other file, and where that cannot be done: then a training is needed.
    """
    folder = run.folder.sub(TRAIN)
    if file.startswith(f"{CHECKPOINTS}/"):
        run.folder.remove(file)
        if not file.endswith(".pt"):
            return f"{file} was removed: nothing is lost, the state has checksums of its own"
        run.folder.remove(f"{file.removesuffix('.pt')}.json")
        return f"{file} was removed: a training would go on from the state before it"
    record = recorded(folder, TRAIN)
    if record is not None and file == f"{TRAIN}/{LOG}":
        run.folder.remove(file)
        kept = {name: value for name, value in record.summary.items() if name != LOG}
        folder.write(f"{TRAIN}.json", replace(record, summary=kept).encode())
        return f"{file} was removed: the losses of this training are lost, the model stands"
    if record is not None and file == f"{TRAIN}/{MARKER}" and _mark_again(run, record):
        return f"{file} was written again from the model's own notes: nothing is lost"
    return None


def _mark_again(run: Run, record: Sidecar) -> bool:
    """Write the marker of a finished training as it was; False if anything else of it is damaged,
    or the job's settings are not those that it was made with."""
    from train.origin import fingerprint_of
    from train.outcome import marker_again

    folder = run.folder.sub(TRAIN)
    others = {name: sum_ for name, sum_ in record.digests.items() if name != MARKER}
    if next(damaged_files(folder, others), None) is not None or not run.job.get(TRAIN):
        return False
    model = Path(folder.path("model"))
    notes, config = read_json(model / NOTES), TrainConfig.model_validate(run.job[TRAIN])
    mark = fingerprint_of(config, notes["export_fingerprint"], notes["base_digest"])
    text = marker_again(model, mark).encode()
    if hashlib.sha256(text).hexdigest() != record.digests[MARKER]:
        return False
    folder.write(MARKER, text)
    return True
