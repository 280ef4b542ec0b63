"""The memory measurement that other tests use sees this process and its children."""

import subprocess
import sys

import pytest
from peak_memory import DECODER, PeakMemory

HOLD = "held = b'1' * (150 << 20); print('holding', flush=True); input()"


def _known(memory: PeakMemory) -> None:
    if memory.unknown:
        pytest.skip(memory.unknown)


def test_what_is_held_for_a_moment_is_seen():
    with PeakMemory() as memory:
        held = b"1" * (150 << 20)
        del held

    _known(memory)
    assert 140 < memory.grown_mb < 200


def test_what_was_held_before_is_not():
    held = b"1" * (150 << 20)
    del held
    with PeakMemory() as memory:
        pass

    _known(memory)
    assert memory.grown_mb < 20


def test_what_a_child_holds_is_seen():
    with PeakMemory() as memory:
        command = [sys.executable, "-c", HOLD, DECODER.decode()]  # known by its command line
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
    child.communicate(b"\n")

    _known(memory)
    assert memory.grown_mb < 20
    assert 150 < memory.children_mb < 200
