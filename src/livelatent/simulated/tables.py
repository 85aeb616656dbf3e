"""Alias tables per type and depth: what a cell of that type proposes before its own depth and batch have their say."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.simulated.kernel import fill_alias
from livelatent.simulated.truth import DEPTH_SPREAD, Assay, Truth

DEPTH_STEP = 2**0.5
"""From one table's depth to the next: smaller steps propose less in vain and take more memory."""
N_DEPTHS = 8
"""Per type; shallower cells share the last."""
SPREAD_LIMIT = 3.5
"""Standard deviations that the log of a cell's depth is off its batch's at most."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What `kernel.draw_counts` needs of an assay; tables of one type lie together, shallow ones first."""

    depths: ndarray
    """The depths that each type has a table for."""
    depth: ndarray
    """[table]"""
    rate: ndarray
    """[table]: mean number of events that a cell proposes."""
    threshold: ndarray
    alias: ndarray
    rise: ndarray
    kept: ndarray

    @property
    def n_bytes(self) -> int:
        """Memory held."""
        return sum(array.nbytes for array in (self.threshold, self.alias, self.rise, self.kept))

    def table_of(self, kind: ndarray, depth: ndarray) -> ndarray:
        """The shallowest table of each cell's type that is at least as deep as the cell."""
        return (kind * self.depths.size + np.searchsorted(self.depths, depth)).astype(np.int32)


def table_bytes(n_types: int, n_batches: int, n_features: int) -> int:
    """What the tables and the means and effects behind them take."""
    return n_features * (n_types * (8 * N_DEPTHS + 4 + 3 * 8) + n_batches * (4 + 3 * 8))


def tables_of(truth: Truth, assay: Assay) -> Tables:
    """Make the tables of an assay."""
    n_types, n_features = assay.mean.shape
    deepest = max(truth.batch_depth) * np.exp(SPREAD_LIMIT * DEPTH_SPREAD - DEPTH_SPREAD**2 / 2)
    depths = deepest * DEPTH_STEP ** np.arange(1.0 - N_DEPTHS, 1.0)
    most = assay.effect.max(axis=0)
    rise = (assay.mean * (most / assay.dispersion)).astype(np.float32)
    depth = np.tile(depths, n_types)
    rate = np.empty(depth.size)
    threshold = np.empty((depth.size, n_features), np.uint32)
    alias = np.empty((depth.size, n_features), np.int32)
    for table in range(depth.size):
        rates = assay.dispersion * np.log1p(depth[table] * rise[table // N_DEPTHS].astype(np.float64))
        rate[table] = rates.sum()
        fill_alias(rates, threshold[table], alias[table])
    return Tables(
        depths=depths,
        depth=depth,
        rate=rate,
        threshold=threshold,
        alias=alias,
        rise=rise,
        kept=(assay.effect / most).astype(np.float32),
    )
