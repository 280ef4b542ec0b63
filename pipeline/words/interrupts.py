"""How Ctrl-C, SIGTERM and SIGHUP end a command: its processes first, then itself, in one line."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""Those that a terminal sends to every process of the command at once."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


PATIENCE = 20.0
"""Seconds for ending in order; batch systems kill a process that takes more than about 30."""


class _Heeded:
    """What has arrived so far, for the one block that heeds signals."""

    held = 0
    first: int | None = None
    raised = False
    timer: threading.Timer | None = None
    terminals: tuple[int, ...] = ()


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """In the block the first of the signals raises Interrupted; a second one ends the process.

    A signal that was ignored before (`nohup`, a shell's background job) stays ignored. In another
    than the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {one: signal.getsignal(one) for one in _SIGNALS}
    heeded = [one for one in _SIGNALS if before[one] in usual]
    if heeded:
        _Heeded.first, _Heeded.raised = None, False
        _Heeded.terminals = tuple(number for number in (1, 2) if os.isatty(number))
    for one in heeded:
        signal.signal(one, _heed)
    try:
        yield
    finally:
        if heeded and _Heeded.timer is not None:
            _Heeded.timer.cancel()
        for one in heeded:
            signal.signal(one, before[one])


def _heed(number: int, _: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_terminal()
    if _Heeded.first is None:
        _Heeded.first = number
    elif _Heeded.raised:
        _end_at_once()  # whoever asks again does not want to wait
    if not _Heeded.held:
        _raise()


def _raise() -> None:
    if _Heeded.first is not None and not _Heeded.raised:
        _Heeded.raised = True
        # A library may catch the exception or wait for something that no longer comes.
        _Heeded.timer = threading.Timer(PATIENCE, _end_at_once)
        _Heeded.timer.daemon = True
        _Heeded.timer.start()
        raise Interrupted(_Heeded.first)


def _end_at_once() -> None:
    """The workers end when their pipe to this process closes; what was committed is whole."""
    with contextlib.suppress(OSError):
        os.write(2, b"winnow: stopped at once; the same command goes on from here\n")
    os._exit(128 + (_Heeded.first or signal.SIGINT))


def interrupted_by() -> signal.Signals | None:
    """The signal that has raised Interrupted; later errors are its consequences."""
    return signal.Signals(_Heeded.first) if _Heeded.raised and _Heeded.first else None


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Signals that arrive in the block raise Interrupted at its end: what it starts is whole then,
    and can be ended in order."""
    _Heeded.held += 1
    try:
        yield
    finally:
        _Heeded.held -= 1
        # In place of an error, which is the signal's consequence: all processes may have got it.
        if not _Heeded.held and threading.current_thread() is threading.main_thread():
            _raise()


@contextlib.contextmanager
def processes_of_ours() -> Iterator[None]:
    """Processes and threads that are started in the block do not get the terminal's signals.

    A terminal sends them to all processes of a command, and each would print a traceback. Ours end
    when the command ends them.
    """
    before = block_terminal()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def block_terminal() -> set[int | signal.Signals]:
    """Block the terminal's signals in this thread and in all processes that it starts from now on;
    the signals that were blocked before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)


def ignore_terminal() -> None:
    """Ignore the terminal's signals in this process. For the main thread of a process of ours, in
    which a library may have lifted the block (multiprocessing does, with its first semaphore)."""
    for one in _OF_TERMINAL:
        signal.signal(one, signal.SIG_IGN)


def _leave_terminal() -> None:
    """The terminal is gone, and writing to it would be an error like that of a broken disk."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in _Heeded.terminals:
        os.dup2(null, descriptor)
    os.close(null)
