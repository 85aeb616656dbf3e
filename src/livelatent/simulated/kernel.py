r"""Negative-binomial counts without a random number per zero.

A negative binomial of mean :math:`\mu` and dispersion :math:`r` is a sum of Poisson-many logarithmic variables: of
:math:`\lambda = r \log(1 + \mu / r)` of them in the mean, each with :math:`q = \mu / (\mu + r)` (Quenouille 1949).
So a cell proposes Poisson-many events, each event takes its gene from an alias table (Vose 1991), is kept with
the probability that the cell's own depth and batch leave of the table's rate, and adds a logarithmic number to its
gene (Kemp 1981). Event t of cell c uses the numbers Philox4x32-10 (Salmon 2011) gives for the counter (c, t), so a
cell depends on nothing but the seed and its number.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROUNDS = 10
LARGEST = 65_535
"""Counts stop here, so that u16 holds them: at a mean of 5,000 and dispersion 1 a count in 500,000 does."""
UNIT = 1 / 2**32


def _draw_counts(
    key: np.uint64,
    cell: NDArray[np.int64],
    table: NDArray[np.int32],
    kind: NDArray[np.int32],
    batch: NDArray[np.int32],
    depth: NDArray[np.float64],
    n_events: NDArray[np.int32],
    table_depth: NDArray[np.float64],
    threshold: NDArray[np.uint32],
    alias: NDArray[np.int32],
    rise: NDArray[np.float32],
    kept: NDArray[np.float32],
    data: NDArray[np.float32],
    indices: NDArray[np.int32],
    indptr: NDArray[np.int64],
) -> None:
    n_genes = np.uint64(threshold.shape[1])
    counts = np.zeros(threshold.shape[1], np.int32)
    filled = 0
    for i in range(cell.size):
        at_most = table_depth[table[i]]
        share_of_depth = depth[i] / at_most
        thresholds, aliases, rises, keeps = threshold[table[i]], alias[table[i]], rise[kind[i]], kept[batch[i]]
        low, high = np.uint64(cell[i]) & LOW, np.uint64(cell[i]) >> HALF
        for event in range(n_events[i]):
            w0, w1, w2, w3 = low, high, np.uint64(event), np.uint64(0)
            k0, k1 = key & LOW, key >> HALF
            for _ in range(ROUNDS):
                p0, p1 = MULTIPLIERS[0] * w0, MULTIPLIERS[1] * w2
                w0, w1, w2, w3 = (p1 >> HALF) ^ w1 ^ k0, p1 & LOW, (p0 >> HALF) ^ w3 ^ k1, p0 & LOW
                k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
            slot = np.int64((w0 * n_genes) >> HALF)
            instead = np.int64(aliases[slot])
            gene = instead if w1 >= thresholds[slot] else slot
            share = share_of_depth * keeps[gene]
            top = at_most * rises[gene]
            coin = (np.float64(w2) + 0.5) * UNIT
            if coin < share:
                # log(1 + x) is concave, so what is under the straight line is kept without a logarithm.
                coin /= share
            else:
                whole = np.log1p(top * share) / np.log1p(top)
                if coin >= whole:
                    continue
                coin = (coin - share) / (whole - share)
            x = top * share
            other = (np.float64(w3) + 0.5) * UNIT
            number = np.int64(1)
            if other * (1 + x) < x:
                q = -np.expm1(-coin * np.log1p(x))
                if other <= q * q:
                    number = np.int64(1 + np.log(other) / np.log(q))
                elif other < q:
                    number = np.int64(2)
            counts[gene] += number
        for column in range(counts.size):
            # No branch: at a tenth of the genes seen, a wrong guess costs more than the writes.
            data[filled] = min(counts[column], LARGEST)
            indices[filled] = column
            filled += counts[column] > 0
            counts[column] = 0
        indptr[i + 1] = filled


def _fill_alias(rate: NDArray[np.float64], threshold: NDArray[np.uint32], alias: NDArray[np.int32]) -> None:
    n = rate.size
    scaled = rate * (n / rate.sum())
    small, large = np.empty(n, np.int32), np.empty(n, np.int32)
    n_small, n_large = 0, 0
    for i in range(n):
        if scaled[i] < 1:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    for i in range(n):
        threshold[i] = 2**32 - 1
        alias[i] = i
    while n_small and n_large:
        n_small -= 1
        less, more = small[n_small], large[n_large - 1]
        threshold[less] = np.uint32(scaled[less] * (2**32 - 1))
        alias[less] = more
        scaled[more] -= 1 - scaled[less]
        if scaled[more] < 1:
            n_large -= 1
            small[n_small] = more
            n_small += 1


def draw_counts(key: int, *arrays: NDArray[Any]) -> None:
    """Fill `data`, `indices` and `indptr` (the last three) with the counts of some cells.

    Parameters
    ----------
    arrays
        Per cell: its number, table, type, batch, depth, and how many events it proposes. Per table the depth that it
        is made for, and its alias table. `rise[type, gene]` is mean / dispersion at depth 1 in the batch that has
        most of the gene, `kept[batch, gene]` the share that a batch has of that. Room for one value more than come.
    """
    _compiled_draw(np.uint64(key), *arrays)


def fill_alias(rate: NDArray[np.float64], threshold: NDArray[np.uint32], alias: NDArray[np.int32]) -> None:
    """Make the alias table of some rates: gene i is itself below its threshold of 2**32, else `alias[i]`."""
    _compiled_alias(rate, threshold, alias)


# Not `parallel`: numba's workqueue aborts the process when two threads enter it.
_compiled_draw: Callable[..., None] = numba.njit(nogil=True, cache=True)(_draw_counts)
_compiled_alias: Callable[..., None] = numba.njit(nogil=True, cache=True)(_fill_alias)
