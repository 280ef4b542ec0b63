"""A decoding process: receives pictures and returns resized ones; a crash ends only this process.

`python -P -m pipeline.fetch.picture.child FD RECIPE`, started by `decoders`. Frames on the socket
FD: a picture's bytes after their length (4 bytes, big endian); in answer the lengths of a JSON
object and of all that follows it, then the object, then the bytes whose sizes it names.
"""

import contextlib
import dataclasses
import json
import os
import resource
import socket
import sys
from typing import Any

import cv2

from pipeline.fetch.picture.make import Made, make_picture
from pipeline.fetch.picture.recipe import Recipe
from pipeline.words.failure import printable
from pipeline.words.processes import read_frame, send_frame

BLOBS = ("jpeg", "phash", "thumb", "plain_pdq")
READY = b"ready"


def _encode(made: Made) -> bytes:
    values: dict[str, Any] = {
        field.name: getattr(made, field.name) for field in dataclasses.fields(made)
    }
    blobs = [values.pop(name) for name in BLOBS]
    head = json.dumps(values | {"sizes": [len(blob) for blob in blobs]}).encode()
    lengths = len(head), sum(map(len, blobs))
    return b"".join([*(length.to_bytes(4, "big") for length in lengths), head, *blobs])


def _bound_memory(mebibytes: int) -> None:
    """Let this process allocate so much more memory than now; further allocations fail in it."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - no file of ours
        held = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
    limit = held + (mebibytes << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(descriptor: int, recipe: Recipe) -> None:
    """Process pictures until the other side closes the socket."""
    cv2.setNumThreads(1)
    connection = socket.socket(fileno=descriptor)
    if sys.platform == "linux":
        _bound_memory(recipe.decode_memory_mb)
    with contextlib.suppress(OSError):  # the other side has ended meanwhile: so does the loop
        send_frame(connection, READY)
    # Decoders print warnings about hostile pictures; they are of no use here.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    while True:
        try:
            data = bytes(read_frame(connection))
        except (EOFError, OSError):
            return
        try:
            made = make_picture(data, recipe)
        except Exception as error:
            connection.sendall(_encode(Made("decoder_crash", _explain(error, recipe))))
            return  # after a failed allocation the decoders' state may be broken
        connection.sendall(_encode(made))


def _explain(error: Exception, recipe: Recipe) -> str:
    if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
        return f"more than {recipe.decode_memory_mb} MiB of memory were needed"
    return printable(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(int(sys.argv[1]), Recipe.decode(sys.argv[2]))
