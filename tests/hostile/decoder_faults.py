"""Put on a decoder's path as `sitecustomize`: pictures with certain comments make it fail, always
or as often as they say.

A real fault in libjpeg cannot be ordered, so the call into it is where these happen; all around it
is as it always is.
"""

import ctypes
import os
import socket
import time
from pathlib import Path

import simplejpeg

MARK = b"winnow-test-fault:"
_decode = simplejpeg.decode_jpeg


def _babble() -> None:
    """Send an invalid answer on the socket to the fetching process."""
    for descriptor in range(3, 64):
        try:
            connection = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        if connection.family == socket.AF_UNIX:
            connection.sendall(b"\0\0\0\x09not JSON!")
            os._exit(0)


def _exhaust() -> None:
    held = []
    while True:
        held.append(b"\1" * (16 << 20))


FAULTS = {
    b"abort": os.abort,
    b"segfault": lambda: ctypes.string_at(0),
    b"exit": lambda: os._exit(0),
    b"quit": lambda: exit(3),
    b"hang": lambda: time.sleep(60),
    b"exhaust": _exhaust,
    b"babble": _babble,
}


def _count(fault: bytes) -> int:
    """How often this fault has been asked for, over all decoders."""
    with Path(__file__).with_name(f"{fault.decode()}-asked").open("a") as tally:
        tally.write("x")
        return tally.tell()


def _faulty(data: bytes, *arguments: object, **options: object) -> object:
    if MARK in data[:200]:
        fault, _, times = data.partition(MARK)[2].partition(b";")[0].partition(b" ")
        if not times or _count(fault) <= int(times):
            FAULTS[fault]()
    return _decode(data, *arguments, **options)


simplejpeg.decode_jpeg = _faulty
