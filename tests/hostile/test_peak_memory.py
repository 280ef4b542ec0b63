"""The memory measurement that other tests use sees this process and its children."""

import subprocess
import sys

import pytest
from peak_memory import DECODER, PeakMemory

HOLD = "held = b'1' * (150 << 20); print('holding', flush=True); input()"


def _known(memory: PeakMemory) -> None:
    if memory.unknown:
        pytest.skip(memory.unknown)


def test_a_short_allocation_is_in_the_peak():
    with PeakMemory() as memory:
        held = b"1" * (150 << 20)
        del held

    _known(memory)
    assert 140 < memory.grown_mb < 200


def test_an_earlier_allocation_is_not_in_the_peak():
    held = b"1" * (150 << 20)
    del held
    with PeakMemory() as memory:
        pass

    _known(memory)
    assert memory.grown_mb < 20


def test_an_allocation_of_a_child_process_is_in_the_peak():
    with PeakMemory() as memory:
        command = [sys.executable, "-c", HOLD, DECODER.decode()]  # known by its command line
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
    child.communicate(b"\n")

    _known(memory)
    assert memory.grown_mb < 20
    assert 150 < memory.children_mb < 200
