"""Clusters of cells that fit nothing labelled, each with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Int, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.cluster import cluster_tree, join_space
from livelatent.judge.expression import gene_indices, log_genes
from livelatent.judge.markers import gene_sums, marker_genes, marker_table
from livelatent.judge.novelty.conformal import Conformal, conformal_p
from livelatent.judge.reference import Reference, load_reference
from livelatent.models.model import Model

__all__ = ["Flag", "Novelty", "find_novel"]

# Cells of larger p-values are scored and forgotten: nobody asks for more false alarms than this.
MAX_TARGET_FPR = 0.25
SCORE_CELLS = 65_536
# Fewer cells than this are no cluster.
MIN_FLAG_CELLS = 5
MAX_FLAG_P = 0.05
# Marker means need no more cells than this.
MARKER_CELLS = 5_000
N_NEAREST = 3
# The second prototype is named too when it is less than this many times as far.
BETWEEN = 1.3
CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)


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
class Novelty(Sequence[Flag]):
    """Flags, and the p-value of every cell that was scored. `novelty[0]` is the largest flag."""

    rows: Rows
    """Store rows of the cells scored."""
    p_value: Float[ndarray, " cell"]
    """Conformal: among known cells, at most this share looks as strange."""
    score: Float[ndarray, " cell"]
    """T = - sum of log p over three scores; it orders cells more finely than `p_value` does."""
    target_fpr: float
    calibration: str
    """What the p-values were calibrated on, in words; any warning with it."""
    flags: tuple[Flag, ...]
    _evidence: "_Evidence" = field(repr=False)

    @overload
    def __getitem__(self, index: int) -> Flag: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Flag, ...]: ...
    def __getitem__(self, index: int | slice) -> Flag | tuple[Flag, ...]:
        return self.flags[index]

    def __len__(self) -> int:
        return len(self.flags)

    def __iter__(self) -> Iterator[Flag]:
        return iter(self.flags)

    @property
    def n_flagged(self) -> int:
        """Cells whose p-value is at most the target, in a flag or not."""
        return int((self.p_value <= self.target_fpr).sum())

    @property
    def curve(self) -> pd.DataFrame:
        """How many cells would be flagged at other targets."""
        ordered = np.sort(self.p_value)
        return pd.DataFrame({"target_fpr": CURVE, "n_flagged": np.searchsorted(ordered, CURVE, side="right")})

    def at(self, target_fpr: float) -> "Novelty":
        """The same scores under another threshold: cells and clusters are chosen anew.

        Raises
        ------
        ValueError
            If the target is not in (0, 0.25].
        """
        _check_target(target_fpr)
        return replace(self, target_fpr=target_fpr, flags=self._evidence.flags(target_fpr))

    def __repr__(self) -> str:
        head = (
            f"{self.n_flagged:,} of {len(self.rows):,} cells fit nothing known at {self.target_fpr:.1%} false alarms; "
            f"{len(self)} {'cluster' if len(self) == 1 else 'clusters'}. Calibrated on {self.calibration}."
        )
        return "\n".join([head, *(f"  {flag!r}" for flag in self.flags)])


def find_novel(
    model: Model, query: Atlas, *, rows: Rows | None = None, target_fpr: float = 0.05, seed: int = 0
) -> Novelty:
    """Find clusters of cells that fit nothing the model has seen.

    Parameters
    ----------
    query
        Any atlas with the model's genes. It needs no labels.
    rows
        Cells to score. None: in the atlas that the model was trained on, cells without a label and validation cells,
        which neither the reference nor the calibration has seen; in any other atlas, all.
    target_fpr
        The share of known cells that may be flagged by mistake, in (0, 0.25].

    Returns
    -------
    Flags by size, and every scored cell's p-value.

    Raises
    ------
    GeneMismatchError
        If more than half of the model's genes are missing from the query; fewer are read as 0, with a warning.
    ModelError
        If nothing fitted is kept with the model, and its atlas is gone.

    Notes
    -----
    Cells are scored by recipe A (three scores, conformal p-values, their combination, conformal again). Known cells
    make false alarms, and false alarms cluster as well: at the rim of each type. So the flagged cells are clustered
    *together with the calibration cells that the same threshold flags*. Where only known cells live, scored and
    calibration cells fall into a cluster by their numbers; a flag is a cluster of at least five scored cells that has
    more of them than that, and its p-value is the hypergeometric tail of the excess, times the number of clusters
    tested, joints of linked clusters included (of nested ones the least likely is the flag). It holds where scored
    and calibration cells are exchangeable, whatever the clusters' shapes, and it can't be small where calibration
    cells are few against the cells scored: then a cluster could be a known population that they missed.
    """
    _check_target(target_fpr)
    reference = load_reference(model)
    is_own = str(query.uuid) == reference.atlas_uuid
    if rows is None:
        unlabelled, validation = query.rows(labelled=False), query.rows("validation")
        chosen = np.union1d(unlabelled, validation) if is_own else query.rows()
    else:
        chosen = as_rows(rows, query.n_cells)
    batches = np.unique(query.batch[chosen])
    names = tuple(query.batch_names[code] for code in batches if 0 <= code < len(query.batch_names))
    conformal, calibration, text = reference.calibration_for(names, is_own=is_own)

    genes = gene_indices(query, tuple(map(str, model.genes)))
    known_p = conformal_p(conformal.total, conformal.total)
    evidence = _Evidence(
        query=query,
        reference=reference,
        mean_total=float(model.mean_total),
        n_scored=len(chosen),
        n_calibration=conformal.n_cells,
        n_batches=len(names),
        seed=seed,
        known=_Strange.of(reference, calibration, conformal, known_p),
        strange=_Strange.nothing(reference),
    )
    totals, p_values, kept = [np.empty(0)], [np.empty(0)], []
    for start in range(0, len(chosen), SCORE_CELLS):
        slab = chosen[start : start + SCORE_CELLS]
        latent, pcs = _latent_and_pcs(model, query, slab, genes, reference)
        total, p_value = conformal.combine(reference.scores(latent, pcs))
        near = p_value <= MAX_TARGET_FPR
        kept.append(_Strange(slab[near], p_value[near], latent[near], pcs[near]))
        totals.append(total)
        p_values.append(p_value)
    if kept:
        evidence = replace(evidence, strange=_Strange.joined(kept))
    n_missing = int((genes < 0).sum())
    if n_missing:
        text += (
            f". {n_missing:,} of the model's {len(genes):,} genes are missing here and read as 0: expect false alarms"
        )
    if conformal.n_cells < 1 / target_fpr - 1:
        text += f". Too few for a target of {target_fpr:.1%}: no p-value can be below {1 / (conformal.n_cells + 1):.2g}"
    return Novelty(
        rows=chosen,
        p_value=np.concatenate(p_values),
        score=np.concatenate(totals),
        target_fpr=target_fpr,
        calibration=text,
        flags=evidence.flags(target_fpr),
        _evidence=evidence,
    )


@dataclass(frozen=True)
class _Strange:
    """Cells whose p-value is small enough to matter at some threshold."""

    rows: Rows
    p_value: Float[ndarray, " cell"]
    latent: Float[ndarray, "cell latent"]
    pcs: Float[ndarray, "cell component"]

    @classmethod
    def of(
        cls,
        reference: Reference,
        calibration: Int[ndarray, " calibration"],
        conformal: Conformal,
        p_value: Float[ndarray, " calibration"],
    ) -> "_Strange":
        cells = calibration
        return cls(
            reference.expression.calibration[cells],
            p_value,
            reference.latent.calibration[cells],
            reference.expression.calibration_pcs[cells],
        )

    @classmethod
    def nothing(cls, reference: Reference) -> "_Strange":
        return cls(
            np.empty(0, np.int64),
            np.empty(0),
            reference.latent.calibration[:0],
            reference.expression.calibration_pcs[:0],
        )

    @classmethod
    def joined(cls, parts: list["_Strange"]) -> "_Strange":
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def at(self, target_fpr: float) -> "_Strange":
        chosen = self.p_value <= target_fpr
        return _Strange(*(getattr(self, name)[chosen] for name in _FIELDS))


_FIELDS = ("rows", "p_value", "latent", "pcs")


@dataclass(frozen=True)
class _Evidence:
    """What flags are made from, for any threshold."""

    query: Atlas
    reference: Reference
    mean_total: float
    n_scored: int
    n_calibration: int
    n_batches: int
    seed: int
    known: _Strange
    strange: _Strange

    def flags(self, target_fpr: float) -> tuple[Flag, ...]:
        """Clusters of strange cells with more of them than known cells alone would give, largest first."""
        strange, known = self.strange.at(target_fpr), self.known.at(target_fpr)
        if len(strange.rows) < MIN_FLAG_CELLS:
            return ()
        both = _Strange.joined([strange, known])
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

    def flag(self, number: int, strange: _Strange, cells: Int[ndarray, " cell"], p_value: float) -> Flag:
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
    'Between B and DC, 2.4 radii from the nearest (B). All from 107: look for a batch effect before naming it.'
    """
    name, radii = nearest[0]
    if len(nearest) > 1 and nearest[1][1] < BETWEEN * radii:
        text = f"Between {name} and {nearest[1][0]}, {radii:.1f} radii from the nearest ({name})."
    else:
        text = f"Nearest: {name} ({radii:.1f} radii)."
    if len(batches) == 1 and n_batches > 1:
        text += f" All from {next(iter(batches))}: look for a batch effect before naming it."
    return text


def _latent_and_pcs(
    model: Model, atlas: Atlas, rows: Rows, genes: Int[ndarray, " gene"], reference: Reference
) -> tuple[Float[ndarray, "cell latent"], Float[ndarray, "cell component"]]:
    from livelatent.train.embed import embed

    x = log_genes(atlas, rows, genes, float(model.mean_total))
    return embed(model, atlas, rows), reference.expression.projection(x)


def _check_target(target_fpr: float) -> None:
    if not 0 < target_fpr <= MAX_TARGET_FPR:
        raise ValueError(f"target_fpr is a share in (0, {MAX_TARGET_FPR}]; got {target_fpr}.")
