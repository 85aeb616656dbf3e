"""From strange cells to flags: which clusters hold more of them than known cells alone would give."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.judge.close_look import CloseLook
from livelatent.judge.cluster import cluster_tree, join_space
from livelatent.judge.flag import Flag

__all__ = ["Evidence", "StrangeCells", "log_excess_p"]

# Fewer cells than this are no cluster.
MIN_FLAG_CELLS = 5
MAX_FLAG_P = 0.05


@dataclass(frozen=True)
class StrangeCells:
    """Cells whose p-value is small enough to matter at some threshold."""

    rows: Rows
    p_value: Float[ndarray, " cell"]
    latent: Float[ndarray, "cell latent"]
    pcs: Float[ndarray, "cell component"]

    @classmethod
    def joined(cls, parts: Sequence["StrangeCells"]) -> "StrangeCells":
        """All of several, in their order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def at(self, target_fpr: float) -> "StrangeCells":
        """Those that a threshold flags."""
        chosen = self.p_value <= target_fpr
        return StrangeCells(*(getattr(self, name)[chosen] for name in _FIELDS))


_FIELDS = ("rows", "p_value", "latent", "pcs")


@dataclass(frozen=True)
class Evidence:
    """What flags are made from, for any threshold."""

    look: CloseLook
    n_scored: int
    n_calibration: int
    seed: int
    known: StrangeCells
    strange: StrangeCells

    def flags(self, target_fpr: float) -> tuple[Flag, ...]:
        """Clusters of strange cells with more of them than known cells alone would give, largest first."""
        strange, known = self.strange.at(target_fpr), self.known.at(target_fpr)
        if len(strange.rows) < MIN_FLAG_CELLS:
            return ()
        both = StrangeCells.joined([strange, known])
        tree = cluster_tree(join_space(both.latent, both.pcs), seed=self.seed)
        piece, piece_known = tree.piece[: len(strange.rows)], tree.piece[len(strange.rows) :]
        n_pieces = tree.nodes.shape[1]
        n_strange = tree.nodes @ np.bincount(piece, minlength=n_pieces)
        n_known = tree.nodes @ np.bincount(piece_known, minlength=n_pieces)
        tested = np.flatnonzero(n_strange >= MIN_FLAG_CELLS)
        log_p = log_excess_p(n_strange[tested], n_known[tested], self.n_scored, self.n_calibration)
        log_p = np.minimum(log_p + np.log(max(len(tested), 1)), 0.0)
        taken = np.zeros(n_pieces, bool)
        found = []
        # Of nested clusters the least likely one stays: both halves of a new type before either, and a new type
        # without the known cells at its rim before both. Of equals the larger.
        for index in np.lexsort((-n_strange[tested], log_p)):
            pieces = tree.nodes[tested[index]]
            if log_p[index] > np.log(MAX_FLAG_P) or (taken & pieces).any():
                continue
            taken |= pieces
            found.append((np.flatnonzero(pieces[piece]), float(np.exp(log_p[index]))))
        found.sort(key=lambda pair: -len(pair[0]))
        flags = []
        for number, (cells, p_value) in enumerate(found, 1):
            own = cells[np.argsort(strange.rows[cells])]
            flags.append(self.look.flag(number, strange.rows[own], strange.latent[own], strange.pcs[own], p_value))
        return tuple(flags)

    def flag_of(self, rows: Rows, p_value: float) -> Flag:
        """The flag that these cells would be together, whoever put them together; cells that fit are left out.

        Raises
        ------
        ValueError
            If none of them is strange.
        """
        chosen = np.flatnonzero(np.isin(self.strange.rows, rows))
        if not len(chosen):
            raise ValueError("none of these cells is strange at any threshold, so they are no flag.")
        own = chosen[np.argsort(self.strange.rows[chosen])]
        return self.look.flag(0, self.strange.rows[own], self.strange.latent[own], self.strange.pcs[own], p_value)


def log_excess_p(
    n_strange: Int[ndarray, " cluster"], n_known: Int[ndarray, " cluster"], n_scored: int, n_calibration: int
) -> Float[ndarray, " cluster"]:
    """Log chance of a cluster having at least so many scored cells among its own, if all were drawn blindly.

    Examples
    --------
    >>> np.exp(log_excess_p(np.array([2]), np.array([0]), n_scored=5, n_calibration=5)).round(4)  # 5/10 * 4/9
    array([0.2222])
    """
    from scipy.stats import hypergeom

    tail = hypergeom.logsf(n_strange - 1, n_scored + n_calibration, n_scored, n_strange + n_known)
    return np.asarray(tail, np.float64)
