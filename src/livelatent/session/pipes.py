"""Messages between two processes: a JSON header and numpy arrays, each with its length before it; no pickle."""

import io
import json
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy import ndarray

LARGEST_BYTES = 1 << 32


def send(pipe: BinaryIO, header: dict[str, Any], *arrays: ndarray) -> None:
    """Write one message and flush it."""
    parts = [json.dumps({**header, "n_arrays": len(arrays)}).encode()]
    for array in arrays:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        parts.append(buffer.getvalue())
    for part in parts:
        pipe.write(struct.pack("<Q", len(part)))
        pipe.write(part)
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[dict[str, Any], list[ndarray]]:
    """Read one message.

    Raises
    ------
    EOFError
        If the other side has gone.
    """
    header = json.loads(_part(pipe))
    arrays = [
        np.lib.format.read_array(io.BytesIO(_part(pipe)), allow_pickle=False) for _ in range(header.pop("n_arrays"))
    ]
    return header, arrays


def _part(pipe: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(pipe, 8))
    if length > LARGEST_BYTES:
        raise ValueError(f"a message part of {length} bytes: the pipe is out of step.")
    return _exactly(pipe, length)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError("the other process has gone.")
    return data
