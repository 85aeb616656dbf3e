"""Splits of cells that nobody has shuffled: by a hash of what each cell is, so that they need be kept nowhere."""

import hashlib

import numpy as np
from jaxtyping import Int8, Int64
from numpy import ndarray

from livelatent.atlas.cells import SPLITS

TRAIN, CALIBRATION, VALIDATION = range(len(SPLITS))
PIECE = 2**18
"""Cells at once: what is computed on the way takes some 40 bytes each."""


def hashed_split(source: str, source_row: Int64[ndarray, " cell"], seed: int = 0) -> Int8[ndarray, " cell"]:
    """Places in `SPLITS` of cells of one source: eight tenths train, one calibrates, one validates, on average.

    The same cell of the same file is in the same split wherever it is, whatever other cells there are.
    """
    name = hashlib.blake2b(f"{seed}\0{source}".encode(errors="surrogatepass"), digest_size=8).digest()
    begin, out = np.uint64(int.from_bytes(name, "little")), np.empty(source_row.size, np.int8)
    for start in range(0, source_row.size, PIECE):
        rows = slice(start, start + PIECE)
        # The finaliser of SplitMix64 (Steele et al., 2014): neighbours get numbers that have nothing in common.
        mixed = begin + source_row[rows].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        tenth = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * (10 / 2**53)
        out[rows] = np.where(tenth < 8, TRAIN, np.where(tenth < 9, CALIBRATION, VALIDATION))
    return out
