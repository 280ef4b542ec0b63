"""Starts Python processes so that they import nothing from the working folder, and talks to them.

`python -m` and `python -c`, which multiprocessing uses, put the working folder at the head of the
module path, so that a stray `json.py` there would be executed. A new process reads the variable
before it imports anything; multiprocessing then gives it the path of the process that started it.
"""

import multiprocessing
import os
import site
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import SpawnContext
from pathlib import Path

import pipeline
from pipeline.words.interrupts import processes_of_ours

SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def keep_working_folder_out() -> None:
    """From now on, processes that this one starts import nothing from their working folder."""
    os.environ.update(SAFE_PATH)


def spawning() -> SpawnContext:
    """The context for pools of processes: spawned, as forking a process with threads can hang."""
    keep_working_folder_out()
    return multiprocessing.get_context("spawn")


def start_module(
    module: str, connection: socket.socket, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`python -m module FD words…`, with the socket open in the new process as descriptor FD."""
    descriptor = connection.fileno()
    with processes_of_ours():
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(descriptor), *words],
            pass_fds=[descriptor], stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": _import_path(), **(env or {})},
        )  # fmt: skip


def _import_path() -> str:
    """PYTHONPATH with which a process finds this package.

    Where it is installed nothing is added: the folder of installed packages would come before the
    standard library, and img2dataset installs a `dataclasses` of Python 3.6 there.
    """
    here = Path(pipeline.__file__).parents[1]
    installed = {os.path.realpath(folder) for folder in site.getsitepackages()}
    paths = [] if os.path.realpath(here) in installed else [str(here)]
    return os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])


def send_frame(connection: socket.socket, data: bytes) -> None:
    """Send the bytes after their length (4 bytes, big endian)."""
    connection.sendall(len(data).to_bytes(4, "big") + data)


def read_exactly(connection: socket.socket, size: int) -> memoryview:
    """`size` bytes; EOFError if the other side ends before."""
    view, at = memoryview(bytearray(size)), 0
    while at < size:
        got = connection.recv_into(view[at:], 0, socket.MSG_WAITALL)
        if not got:
            raise EOFError
        at += got
    return view


def read_frame(connection: socket.socket) -> memoryview:
    """The bytes after their length."""
    return read_exactly(connection, int.from_bytes(read_exactly(connection, 4), "big"))
