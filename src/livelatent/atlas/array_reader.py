"""One way to fill a slot from a long array, whatever it is coded in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy import ndarray

from livelatent.atlas.shards import Shards, is_readable

ReadInto = Callable[[int, int, ndarray], None]
"""Fills its third argument with the values from the first to the second."""


def array_reader(array: "zarr.Array[Any]", folder: Path | None) -> ReadInto:
    """Read shards ourselves where they lie on this machine in codecs we know; else as Zarr does, slower and right.

    Parameters
    ----------
    folder
        The array's own, with its `zarr.json`; None where it is remote.
    """
    if folder is not None and is_readable(array):
        return Shards(folder, array).read_into

    def read_into(first: int, last: int, out: ndarray) -> None:
        values = np.asarray(array[first:last])
        if values.shape != out.shape:
            raise ValueError(f"{values.size} values came, {out.size} were wanted")
        out[:] = values

    return read_into
