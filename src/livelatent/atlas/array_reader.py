"""One way to fill a slot from a long array, whatever it is coded in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy import ndarray

from livelatent.atlas.seen import Seen
from livelatent.atlas.shards import Shards, is_readable
from livelatent.atlas.stretches import Stretches

ReadStretches = Callable[[Stretches, ndarray], Seen]
"""Fills parts of an array with stretches of a longer one, and says what it saw of them."""


def array_reader(array: "zarr.Array[Any]", folder: Path | None) -> ReadStretches:
    """Read shards ourselves where they lie on this machine in codecs we know; else as Zarr does, slower and right.

    Parameters
    ----------
    folder
        The array's own, with its `zarr.json`; None where it is remote.
    """
    if folder is not None and is_readable(array):
        return Shards(folder, array).read_stretches

    def read_into(first: int, last: int, out: ndarray) -> None:
        values = np.asarray(array[first:last])
        if values.shape != out.shape:
            raise ValueError(f"{values.size} values came, {out.size} were wanted")
        out[:] = values

    return one_by_one(read_into)


def one_by_one(read_into: Callable[[int, int, ndarray], None]) -> ReadStretches:
    """Read each stretch by itself, by what fills an array with the values from one number to another."""

    def read_stretches(stretches: Stretches, out: ndarray) -> Seen:
        seen = Seen.nothing(len(stretches.first))
        for number, (first, last, at) in enumerate(stretches.each()):
            read_into(first, last, out[at : at + last - first])
            seen.note(number, out[at : at + last - first])
        return seen

    return read_stretches
