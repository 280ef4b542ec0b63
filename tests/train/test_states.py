"""Training states: a damaged one is never gone on from, and that is said."""

import json
from pathlib import Path

import pytest
import torch

from train.checkpoint import newest_checkpoint, save_checkpoint
from train.states import damage_of, damaged_states, states

DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
}


@pytest.fixture(params=[True, False], ids=["with records", "of an earlier version"])
def saved(request, tmp_path: Path) -> Path:
    """States of steps 2 and 4."""
    for step in (2, 4):
        save_checkpoint(tmp_path, step, {"unet": {"w": torch.full((64, 64), float(step))}}, 2)
    for record in tmp_path.glob("*.json") if not request.param else ():
        record.unlink()
    return tmp_path


def newest(folder: Path) -> tuple[int | None, list[str]]:
    said: list[str] = []
    state = newest_checkpoint(folder, 100, said.append)
    return (state["step"] if state else None), said


def test_whole_states_are_read_and_only_the_newest_kept(saved: Path) -> None:
    assert newest(saved) == (4, [])
    assert damaged_states(saved) == {}
    save_checkpoint(saved, 6, {"unet": {}}, 2)
    assert [path.stem for path in states(saved)] == ["step-00000004", "step-00000006"]
    assert not (saved / "step-00000002.json").exists()


@pytest.mark.parametrize("how", DAMAGE)
def test_of_a_damaged_state_the_one_before_is_taken_and_it_is_said(saved: Path, how: str) -> None:
    path = saved / "step-00000004.pt"
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    assert list(damaged_states(saved)) == [path]
    step, said = newest(saved)
    assert (step, len(said)) == (2, 1)
    assert str(path) in said[0]
    assert "was cut or changed from outside and is not used" in said[0]
    assert not path.exists()


def test_states_that_changed_places_are_not_used(saved: Path) -> None:
    two, four = states(saved)
    first, second = two.read_bytes(), four.read_bytes()
    two.write_bytes(second)
    four.write_bytes(first)
    step, said = newest(saved)
    assert (step, len(said)) == (None, 2)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"step": 4'])
def test_a_damaged_record_loses_no_state(tmp_path: Path, text: bytes) -> None:
    path = save_checkpoint(tmp_path, 4, {"unet": {"w": torch.zeros(9)}}, 2)
    record = path.with_suffix(".json")
    assert set(json.loads(record.read_bytes())) == {"step", "bytes", "sha256", "checksum"}
    record.write_bytes(text)
    assert damaged_states(tmp_path) == {record: "changed"}
    assert damage_of(path) is None
    assert newest(tmp_path) == (4, [])
