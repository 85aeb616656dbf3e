"""Splits of cells that nobody has shuffled: by a hash of what each cell is, so that they need be kept nowhere."""

import hashlib

import numpy as np
from jaxtyping import Int8, Int64
from numpy import ndarray

from livelatent.atlas.cells import SPLITS


def hashed_split(source: str, source_row: Int64[ndarray, " cell"], seed: int = 0) -> Int8[ndarray, " cell"]:
    """Places in `SPLITS` of cells of one source: eight tenths train, one calibrates, one validates, on average.

    The same cell of the same file is in the same split wherever it is, whatever other cells there are.
    """
    name = hashlib.blake2b(f"{seed}\0{source}".encode(errors="surrogatepass"), digest_size=8).digest()
    # The finaliser of SplitMix64 (Steele et al., 2014): neighbours get numbers that have nothing in common.
    mixed = np.uint64(int.from_bytes(name, "little")) + source_row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    tenth = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * (10 / 2**53)
    return np.where(tenth < 8, SPLITS.index("train"), np.where(tenth < 9, 1, 2)).astype(np.int8)
