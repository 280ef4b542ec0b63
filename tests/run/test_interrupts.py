"""Signals that ask a run to end: all its processes end, and one line is printed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from lab import DASK, INLINE, Lab
from test_endings import GOES_ON, line_of
from test_kill import _delay, _wait_for, slow_site  # noqa: F401 - a fixture

PART = "parts/download-*/00000.json"
LINES = {
    signal.SIGINT: f"winnow: stopped; {GOES_ON}",
    signal.SIGTERM: f"winnow: stopped by SIGTERM; {GOES_ON}",
    signal.SIGHUP: f"winnow: stopped by SIGHUP; {GOES_ON}",
}


def _usual() -> None:
    """A shell has its background jobs ignore SIGINT, and with them the tests' processes."""
    for one in LINES:
        signal.signal(one, signal.SIG_DFL)


def _start(lab: Lab, *words: str, before=_usual) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=before,
    )  # fmt: skip


def _run(script: str) -> tuple[int, str]:
    """The exit code and stderr of a script in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=_usual
    )
    return ended.returncode, ended.stderr


def _ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["terminal", "driver"])
@pytest.mark.parametrize("number", list(LINES))
@pytest.mark.parametrize("executor", [INLINE, DASK], ids=["inline", "dask"])
def test_a_signal_ends_all_processes_in_one_line(executor, number, whom, slow_site, tmp_path):  # noqa: F811
    """A terminal sends Ctrl-C to every process of the command, and so do batch systems."""
    _delay(slow_site, 0.3)
    lab = Lab(slow_site, tmp_path, executor)
    process = _start(lab, "run", str(lab.job(download={"thread_count": 2})))
    _wait_for(lab.folder / "runs" / "job", PART, process)
    children = psutil.Process(process.pid).children(recursive=True)
    (os.killpg if whom == "terminal" else os.kill)(process.pid, number)

    ended = _ended(process)

    assert line_of(ended, 128 + number) == LINES[number]
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    if number != signal.SIGTERM or whom == "driver":  # which ends the workers at once
        assert not list((lab.folder / "runs" / "job").glob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.9, 1.3, 1.7, 2.1, 2.5, 3.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_workers_start(number, after, slow_site, tmp_path):  # noqa: F811
    lab = Lab(slow_site, tmp_path, DASK)
    _delay(slow_site, 0.3)
    process = _start(lab, "run", str(lab.job()))
    time.sleep(after)
    os.killpg(process.pid, number)

    ended = _ended(process)

    if ended.stderr:  # else it came before the command's first line
        # Dask waits long for a worker that SIGTERM ended while it started.
        at_once = f"winnow: stopped at once; {GOES_ON}"
        assert line_of(ended, 128 + number) in (LINES[number], at_once)


def test_a_command_under_nohup_goes_on(slow_site, tmp_path):  # noqa: F811
    def nohup() -> None:
        _usual()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    _delay(slow_site, 0.1)
    lab = Lab(slow_site, tmp_path, INLINE)
    process = _start(lab, "run", str(lab.job(download={"thread_count": 8})), before=nohup)
    _wait_for(lab.folder / "runs" / "job", PART, process)
    os.killpg(process.pid, signal.SIGHUP)

    ended = _ended(process)

    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout


def test_a_second_ctrl_c_ends_a_command_that_does_not_end(tmp_path):
    script = """
import os, signal, time
from pipeline.words.endings import endings
with endings():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
"""

    assert _run(script) == (130, f"winnow: stopped at once; {GOES_ON}\n")


def test_a_command_that_does_not_end_is_ended(tmp_path):
    """A library may catch the exception, or wait for what no longer comes."""
    script = """
import os, signal, time
from pipeline.words import interrupts
from pipeline.words.endings import endings
interrupts.PATIENCE = 0.2
with endings():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)
    except BaseException:
        time.sleep(9)
"""

    assert _run(script) == (143, f"winnow: stopped at once; {GOES_ON}\n")


def test_an_error_that_a_signal_caused_is_no_bug(tmp_path):
    """Python 3.11 wraps an exception that comes while a class is made: its import is a bug then."""
    script = """
import os, signal, time
from pipeline.words.endings import endings
with endings():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
    except KeyboardInterrupt as error:
        raise RuntimeError("Error calling __set_name__") from error
"""

    assert _run(script) == (130, f"winnow: stopped; {GOES_ON}\n")


def test_a_terminal_that_is_gone_is_no_broken_disk(slow_site, tmp_path):  # noqa: F811
    """SIGHUP says that the terminal was closed; writing to it is an input/output error."""
    _delay(slow_site, 0.3)
    lab = Lab(slow_site, tmp_path, INLINE)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", str(lab.job(download={"thread_count": 2}))],
        stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_usual,
    )  # fmt: skip
    os.close(theirs)
    _wait_for(lab.folder / "runs" / "job", PART, process)
    os.close(ours)  # the terminal's window
    process.send_signal(signal.SIGHUP)

    assert process.wait(30) == 129
