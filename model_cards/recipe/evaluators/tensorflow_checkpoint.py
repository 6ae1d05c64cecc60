"""Tensors out of a TensorFlow checkpoint, without TensorFlow.

A checkpoint of the second format ("tensor bundle") is a sorted table of names in the format of
LevelDB, `.index`, and a file of raw numbers, `.data-00000-of-00001`. Read from the formats'
descriptions: LevelDB's doc/table_format.md, and tensor_bundle.proto of TensorFlow.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57
FLOAT32 = 1  # of tensorflow's DataType
BLOCK_TRAILER_BYTES = 5  # how it is compressed, and a checksum
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def read_checkpoint(index: Path, data: Path) -> dict[str, Array]:
    """All float32 tensors of a checkpoint by name, in the order and layout of TensorFlow.

    Others, such as step counters, are left out. Raises `ValueError` for something else, a damaged
    or compressed file, and data in several files.
    """
    table, numbers = index.read_bytes(), data.read_bytes()
    tensors: dict[str, Array] = {}
    try:
        for name, entry in _table_entries(table):
            if not name:
                continue  # the bundle's own description
            fields = dict(_message(entry))
            if fields.get(1) != FLOAT32:
                continue
            if fields.get(3, 0):
                raise ValueError("it has several files of data")
            shape = [
                dict(_message(size)).get(1, 0) for key, size in _message(fields[2]) if key == 2
            ]
            begin, length = fields.get(4, 0), fields.get(5, 0)
            values = np.frombuffer(numbers[begin : begin + length], dtype="<f4")
            tensors[name.decode()] = values.reshape([int(size) for size in shape])
    except (ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise ValueError(
            f"{index} is not a TensorFlow checkpoint that can be read: {error}"
        ) from None
    return tensors


def _table_entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table, in order."""
    footer = table[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise ValueError("it does not end as one")
    place = _skip_handle(footer, 0)  # of the meta index, which is not needed
    for _, handle in _block_entries(table, footer[place:]):
        yield from _block_entries(table, handle)


def _skip_handle(data: bytes, place: int) -> int:
    for _ in range(2):
        _, place = _varint(data, place)
    return place


def _block_entries(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the block at a handle; each key shares its beginning with the one before."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    block = table[offset : offset + size]
    if len(table) < offset + size + BLOCK_TRAILER_BYTES:
        raise ValueError("it ends too early")
    if table[offset + size]:
        raise ValueError("it is compressed")
    (restarts,) = struct.unpack("<I", block[-4:])
    end, place, key = len(block) - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = _varint(block, place)
        fresh, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + fresh]
        place += fresh
        yield key, block[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _message(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protocol buffer; fixed numbers as bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            length, place = _varint(data, place)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"there is no wire type {kind}")
        yield tag >> 3, data[place : place + length]
        place += length
