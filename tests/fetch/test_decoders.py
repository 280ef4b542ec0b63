"""A picture that breaks its decoder ends one process only, and its row gets the reason."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_pictures import jpeg
from plain_scenes import encoded

import pipeline
from pipeline.config.download import DownloadConfig
from pipeline.fetch.picture.decoders import Decoders
from pipeline.fetch.picture.make import make_picture
from pipeline.fetch.picture.recipe import Recipe
from pipeline.fetch.stopped import FetchStoppedError

GOOD = jpeg(300, 200)
LARGE = encoded(np.zeros((6000, 6000, 3), np.uint8), "PNG")


def recipe(**options: Any) -> Recipe:
    return Recipe.of(DownloadConfig(**{"image_size": 64} | options))


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    made = Decoders(recipe(), 1, 20.0)
    yield made
    made.close()


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.mark.parametrize("data", [GOOD, b"<html>", jpeg(20, 20), GOOD[:-100]])
def test_a_decoding_process_gives_the_same_result_as_the_function(decoders, data):
    assert decoders.make(data) == make_picture(data, recipe())


def test_one_process_serves_one_picture_after_another(decoders):
    before = children()
    for _ in range(5):
        assert decoders.make(GOOD).reason is None

    assert len(children() - before) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_decoder_fails_only_its_own_picture_and_not_at_once(decoders, times):
    before = children()
    assert decoders.make(GOOD).reason is None
    killed: list[Any] = [None]

    def kill() -> None:
        for pictures in [2, 1][:times]:  # sent to the first process, and to the next
            while True:
                child = decoders._slots[0]._child
                if child not in killed and child._sent == pictures:
                    break
                time.sleep(0.001)
            killed.append(child)
            os.kill(child.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()

    made = decoders.make(LARGE)
    killer.join()

    found = {1: (None, ""), 2: ("decoder_crash", "the decoder died (signal 9)")}
    assert (made.reason, made.detail) == found[times]
    assert decoders.make(GOOD).jpeg == make_picture(GOOD, recipe()).jpeg
    assert not {child.process.pid for child in killed[1:]} & (children() - before)


def test_a_decoder_that_died_while_idle_fails_no_picture(decoders):
    before = children()
    assert decoders.make(GOOD).reason is None
    [pid] = children() - before
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert decoders.make(GOOD).reason is None


@pytest.mark.slow
def test_a_decoder_that_hangs_is_ended_and_its_picture_made_by_the_next():
    before, slow = children(), Decoders(recipe(), 1, 2.0)
    assert slow.make(GOOD).reason is None
    [pid] = children() - before
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()

    made = slow.make(GOOD)

    assert (made.reason, made.detail) == (None, "")
    assert 1.9 < time.monotonic() - started < 12
    assert pid not in children()
    assert slow.make(GOOD).reason is None
    slow.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's data")
def test_a_decoder_cannot_allocate_more_than_its_limit():
    small = Decoders(recipe(decode_memory_mb=256), 1, 20.0)

    made = small.make(encoded(np.zeros((9000, 9900, 3), np.uint8), "PNG"))

    assert (made.reason, made.detail) == (
        "decoder_crash",
        "more than 256 MiB of memory were needed",
    )
    assert small.make(GOOD).reason is None
    small.close()


def test_decoders_end_with_their_owner(decoders):
    before = children()
    assert decoders.make(GOOD).reason is None
    [pid] = children() - before

    decoders.close()

    assert pid not in children()
    decoders.close()  # a second call does nothing


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_decoders_import_nothing_from_the_working_folder(tmp_path, monkeypatch):
    for name in ("pipeline", "cv2", "json", "numpy", "socket", "dataclasses"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    decoders = Decoders(recipe(), 1, 20.0)

    assert decoders.make(GOOD).reason is None
    decoders.close()


def test_decoders_that_cannot_start_raise_an_error_and_give_no_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", _program(tmp_path / "dead", "raise SystemExit(1)"))

    with pytest.raises(FetchStoppedError, match="did not start"):
        Decoders(recipe(), 1, 1.0).make(GOOD)


INVALID_ANSWER = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[-2]))
sock.sendall(b"\\0\\0\\0\\5ready")
sock.recv(1 << 20)
sock.sendall({answer!r})
"""


@pytest.mark.parametrize(
    "answer",
    [
        b"\0\0\0\2\0\0\0\0{}",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\3\0\0\0\0x y",
        b'\0\0\0\x24\0\0\0\0{"reason":"kept","sizes":[0,0,0,0]}',
        b'\0\0\0\x1e\0\0\0\0{"sizes":[99999999999,0,0,0]} ',
    ],
)
def test_invalid_answers_of_a_decoder_are_not_used(tmp_path, monkeypatch, answer):
    program = _program(tmp_path / "invalid", INVALID_ANSWER.format(answer=answer))
    monkeypatch.setattr(sys, "executable", program)

    made = Decoders(recipe(), 1, 5.0).make(GOOD)

    assert made.reason == "decoder_crash"
    assert "the decoder died" in made.detail


def test_an_installed_package_beside_one_that_is_named_as_a_module_of_python(tmp_path: Path):
    """img2dataset installs a `dataclasses` for Python 3.6 among the packages."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "pipeline").symlink_to(Path(pipeline.__file__).parent)
    (site / "dataclasses.py").write_text("raise ImportError('not the one of Python')")
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(paths))
    (tmp_path / "good.jpg").write_bytes(GOOD)
    code = (
        "import pipeline\n"
        "from pathlib import Path\n"
        "from pipeline.config.download import DownloadConfig\n"
        "from pipeline.fetch.picture.decoders import Decoders\n"
        "from pipeline.fetch.picture.recipe import Recipe\n"
        "made = Decoders(Recipe.of(DownloadConfig(image_size=64)), 1, 20.0)\n"
        "print(pipeline.__file__, made.make(Path('good.jpg').read_bytes()).reason)\n"
        "made.close()\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = str(tmp_path / "venv" / "bin" / "python")
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == [f"{site}/pipeline/__init__.py", "None"], done.stderr
