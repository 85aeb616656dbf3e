"""Clusters of cells that fit nothing labelled, each with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.evidence import Evidence, Flag, StrangeCells
from livelatent.judge.expression import gene_indices, log_genes
from livelatent.judge.novelty.conformal import conformal_p
from livelatent.judge.reference import load_reference
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["Flag", "Novelty", "find_novel"]

# Cells of larger p-values are scored and forgotten: nobody asks for more false alarms than this.
MAX_TARGET_FPR = 0.25
SCORE_CELLS = 65_536
CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)


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
    _evidence: Evidence = field(repr=False)

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
        which neither the reference nor the calibration has seen; in any other atlas, all. Of both, those that QC
        keeps.
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

    genes = gene_indices(query, model.genes)
    totals, p_values = [np.empty(0)], [np.empty(0)]
    strange = [StrangeCells.known(reference, np.empty(0, np.int64), np.empty(0))]
    for start in range(0, len(chosen), SCORE_CELLS):
        slab = chosen[start : start + SCORE_CELLS]
        latent = embed(model, query, slab)
        pcs = reference.expression.projection(log_genes(query, slab, genes, model.mean_total))
        total, p_value = conformal.combine(reference.scores(latent, pcs))
        near = p_value <= MAX_TARGET_FPR
        strange.append(StrangeCells(slab[near], p_value[near], latent[near], pcs[near]))
        totals.append(total)
        p_values.append(p_value)
    evidence = Evidence(
        query=query,
        reference=reference,
        mean_total=model.mean_total,
        n_scored=len(chosen),
        n_calibration=conformal.n_cells,
        n_batches=len(names),
        seed=seed,
        known=StrangeCells.known(reference, calibration, conformal_p(conformal.total, conformal.total)),
        strange=StrangeCells.joined(strange),
    )
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


def _check_target(target_fpr: float) -> None:
    if not 0 < target_fpr <= MAX_TARGET_FPR:
        raise ValueError(f"target_fpr is a share in (0, {MAX_TARGET_FPR}]; got {target_fpr}.")
