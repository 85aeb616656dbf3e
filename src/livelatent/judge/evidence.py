"""From strange cells to flags: which clusters hold more of them than known cells alone would give, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import gene_sums
from livelatent.judge.cluster import cluster_tree, join_space
from livelatent.judge.expression import log_genes
from livelatent.judge.markers import marker_genes, marker_table
from livelatent.judge.reference import Reference

__all__ = ["Evidence", "Flag", "StrangeCells", "log_excess_p", "reason"]

# Fewer cells than this are no cluster.
MIN_FLAG_CELLS = 5
MAX_FLAG_P = 0.05
# Marker means need no more cells than this.
MARKER_CELLS = 5_000
N_NEAREST = 3
# The second prototype is named too when it is less than this many times as far.
BETWEEN = 1.3


@dataclass(frozen=True)
class Flag:
    """One cluster of cells that fit no prototype."""

    id: int
    """Counts from 1, by size."""
    rows: Rows
    """Store rows of `atlas`."""
    atlas: Atlas
    p_value: float
    """How often known cells alone would fill a cluster so, see `find_novel`."""
    batches: dict[str, int]
    """Cells per batch, largest first; empty without a batch column."""
    nearest: tuple[tuple[str, float], ...]
    """Known types, nearest first, and the distance to each in its own radii."""
    higher: tuple[str, ...]
    """Genes higher than in the nearest known type, most certain first."""
    lower: tuple[str, ...]
    reason: str
    """A plain sentence."""
    centroid: Float[ndarray, " latent"]

    @property
    def n_cells(self) -> int:
        """How many cells it has."""
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Flag({self.id}: {self.n_cells:,} cells, p {self.p_value:.2g}. {self.reason})"


@dataclass(frozen=True)
class StrangeCells:
    """Cells whose p-value is small enough to matter at some threshold."""

    rows: Rows
    p_value: Float[ndarray, " cell"]
    latent: Float[ndarray, "cell latent"]
    pcs: Float[ndarray, "cell component"]

    @classmethod
    def known(
        cls, reference: Reference, cells: Int[ndarray, " cell"], p_value: Float[ndarray, " cell"]
    ) -> "StrangeCells":
        """Some of the reference's calibration cells."""
        return cls(
            reference.expression.calibration[cells],
            p_value,
            reference.latent.calibration[cells],
            reference.expression.calibration_pcs[cells],
        )

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

    query: Atlas
    reference: Reference
    mean_total: float
    n_scored: int
    n_calibration: int
    n_batches: int
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
        return tuple(self.flag(number, strange, *pair) for number, pair in enumerate(found, 1))

    def flag(self, number: int, strange: StrangeCells, cells: Int[ndarray, " cell"], p_value: float) -> Flag:
        """One cluster, looked at closely."""
        cells = cells[np.argsort(strange.rows[cells])]
        rows, latent = strange.rows[cells], strange.latent[cells]
        centroid = latent.mean(axis=0)
        prototypes = self.reference.prototypes
        radii = prototypes.in_radii(centroid[None])[0]
        order = np.argsort(radii)[:N_NEAREST]
        nearest = tuple((prototypes.names[index], float(radii[index])) for index in order)
        batches: dict[str, int] = {}
        if self.query.batch_names:
            code, count = np.unique(self.query.batch[rows], return_counts=True)
            by_size = np.argsort(-count, kind="stable")
            batches = {self.query.batch_names[code[index]]: int(count[index]) for index in by_size}
        higher, lower = self._markers(rows, nearest[0][0])
        return Flag(
            id=number,
            rows=rows,
            atlas=self.query,
            p_value=float(p_value),
            batches=batches,
            nearest=nearest,
            higher=higher,
            lower=lower,
            reason=reason(nearest, batches, self.n_batches),
            centroid=centroid,
        )

    def _markers(self, rows: Rows, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Genes that tell these cells from a known type, among those that both atlases measured."""
        code = self.reference.label_names.index(name)
        sums = self.reference.expression.sums
        place = {str(gene): index for index, gene in enumerate(self.query.genes)}
        genes = self.reference.expression.genes
        shared = np.array([index for index, gene in enumerate(genes) if gene in place], np.int64)
        if len(rows) < 2 or sums.n_cells[code] < 2:
            return (), ()
        names = [genes[index] for index in shared]
        sample = rows
        if len(rows) > MARKER_CELLS:
            sample = np.sort(np.random.default_rng(self.seed).choice(rows, MARKER_CELLS, replace=False))
        x = log_genes(self.query, sample, np.array([place[gene] for gene in names], np.int64), self.mean_total)
        own = gene_sums(x, np.zeros(len(sample), np.int64), 1)
        return marker_genes(marker_table(own, 0, sums.genes(shared), code, names))


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


def reason(nearest: tuple[tuple[str, float], ...], batches: dict[str, int], n_batches: int) -> str:
    """Why these cells were flagged, in a plain sentence.

    Parameters
    ----------
    n_batches
        Batches among all cells scored: one is no sign of a batch effect if there is only one.

    Examples
    --------
    >>> reason((("B", 2.4), ("DC", 2.6)), {"107": 9}, 8)
    'Between B and DC, 2.4 of its radii from the nearest (B). All from 107: look for a batch effect before naming it.'
    """
    name, radii = nearest[0]
    if len(nearest) > 1 and nearest[1][1] < BETWEEN * radii:
        text = f"Between {name} and {nearest[1][0]}, {radii:.1f} of its radii from the nearest ({name})."
    else:
        text = f"Nearest: {name} ({radii:.1f} of its radii)."
    if len(batches) == 1 and n_batches > 1:
        text += f" All from {next(iter(batches))}: look for a batch effect before naming it."
    return text
