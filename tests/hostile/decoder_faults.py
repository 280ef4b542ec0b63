"""Put on a decoder's path as `sitecustomize`: pictures with certain comments make it fail.

A real fault in libjpeg cannot be ordered, so the call into it is where these happen; all around it
is as it always is.
"""

import ctypes
import os
import socket
import time

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


def _faulty(data: bytes, *arguments: object, **options: object) -> object:
    if MARK in data[:200]:
        fault = data.partition(MARK)[2].partition(b";")[0]
        FAULTS[fault]()
    return _decode(data, *arguments, **options)


simplejpeg.decode_jpeg = _faulty
