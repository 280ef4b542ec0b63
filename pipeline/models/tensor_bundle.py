"""Reads the variables of a TensorFlow checkpoint ("tensor bundle") without TensorFlow.

The index is a table of LevelDB (github.com/google/leveldb, doc/table_format.md) from names to
BundleEntryProto (tensorflow/core/protobuf/tensor_bundle.proto), the data file holds the tensors.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.words.errors import InputError

_MAGIC = 0xDB4775248B80FB57
_FLOAT = 1
"""DT_FLOAT of tensorflow/core/framework/types.proto."""


def read_bundle(index: bytes, data: bytes) -> dict[str, npt.NDArray[np.float64]]:
    """The float32 variables by name, as float64; others are left out.

    InputError for an index that is no such table, is compressed, or names data that are not there.
    """
    try:
        return {
            name: array
            for name, entry in _entries(index)
            if name and (array := _tensor(entry, data)) is not None
        }
    except (IndexError, ValueError, struct.error, UnicodeDecodeError) as error:
        raise InputError(f"the index of the variables is damaged ({error})") from None


def _entries(index: bytes) -> Iterator[tuple[str, bytes]]:
    if len(index) < 48 or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise ValueError("it is no table of LevelDB")
    at, footer = 0, index[-48:]
    for _ in range(2):  # the place of the meta index, which is not needed
        _, at = _varint(footer, at)
    start, at = _varint(footer, at)
    size, at = _varint(footer, at)
    for _, handle in _block(index, start, size):
        block_start, at = _varint(handle, 0)
        block_size, at = _varint(handle, at)
        for key, value in _block(index, block_start, block_size):
            yield key.decode(), value


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key shares a prefix with the one before it."""
    block = table[start : start + size]
    if len(block) != size or table[start + size] != 0:
        raise ValueError("a block is cut or compressed")
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, size - 4 * (restarts + 1), b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _tensor(entry: bytes, data: bytes) -> npt.NDArray[np.float64] | None:
    """The tensor of a BundleEntryProto; None if it is not of floats in this data file."""
    fields = dict(_fields(entry))
    if fields.get(1) != _FLOAT or fields.get(3, 0) != 0:
        return None
    shape = [
        dict(_fields(dim)).get(1, 0) for number, dim in _fields(fields.get(2, b"")) if number == 2
    ]
    offset, size = fields.get(4, 0), fields.get(5, 0)
    if offset + size > len(data):
        raise ValueError("the data file is cut")
    return np.frombuffer(data[offset : offset + size], "<f4").astype(np.float64).reshape(shape)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError(f"wire type {tag & 7}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
