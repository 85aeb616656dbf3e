"""Clusters of cells that fit nothing labelled, each with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.cell_cycle import CycleGenes
from livelatent.judge.close_look import CloseLook
from livelatent.judge.cycle_lists import CycleSource, cycle_lists
from livelatent.judge.evidence import Evidence, StrangeCells
from livelatent.judge.flag import Flag
from livelatent.judge.measures import MEASURES
from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.methods import Method, checked_method
from livelatent.judge.novelty.target import MAX_TARGET_FPR, check_target
from livelatent.judge.novelty.thesis import THESIS_THRESHOLD
from livelatent.judge.own_classifier import check_classifier
from livelatent.judge.reference import Reference, load_reference
from livelatent.judge.scoring import scoring_for
from livelatent.judge.shared_genes import cycle_of_shared, shared_genes
from livelatent.models.given import check_atlas, check_model
from livelatent.models.model import Model

__all__ = ["Flag", "Novelty", "find_novel"]

SCORE_CELLS = 65_536
CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)


@dataclass(frozen=True)
class Novelty(Sequence[Flag]):
    """Flags, and the p-value of every cell that was scored. `novelty[0]` is the largest flag."""

    rows: Rows
    """Store rows of the cells scored."""
    p_value: Float[ndarray, " cell"]
    """Conformal: among known cells, at most this share looks as strange. Of the thesis's rule: its likelihood."""
    score: Float[ndarray, " cell"]
    """T = - sum of log p over the method's scores; it orders cells more finely than `p_value` does."""
    target_fpr: float
    """What a p-value is at most where a cell is flagged; of the thesis's rule, the threshold of its likelihood."""
    calibration: str
    """What the p-values were calibrated on, in words; any warning with it."""
    flags: tuple[Flag, ...]
    method: Method
    warnings: tuple[str, ...]
    """What makes detection weak or false alarms likely here, in plain sentences."""
    _evidence: Evidence = field(repr=False)

    @overload
    def __getitem__(self, index: int) -> Flag: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Flag, ...]: ...
    def __getitem__(self, index: int | slice) -> Flag | tuple[Flag, ...]:
        if isinstance(index, int) and not -len(self.flags) <= index < len(self.flags):
            raise IndexError(
                f"there is no flag {index}: {len(self.flags)} clusters of cells fit nothing known at {self.rule}. "
                f"`.at(0.1)` asks for less certainty; `.p_value` is that of every cell scored."
            )
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
    def rule(self) -> str:
        """What a cell is flagged by, in words."""
        return f"likelihood {self.target_fpr:.2f}" if self.method == "thesis" else f"{self.target_fpr:.1%} false alarms"

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
        check_target(target_fpr)
        return replace(self, target_fpr=target_fpr, flags=self._evidence.flags(target_fpr))

    def flag_of(self, rows: Rows, p_value: float) -> Flag:
        """A flag of cells that a person put together (several flags as one, or a part of one): its id is 0.

        Parameters
        ----------
        p_value
            What it is said to have: that of the flags it was made from.

        Raises
        ------
        ValueError
            If none of the cells has a p-value that any threshold flags.
        """
        return self._evidence.flag_of(rows, p_value)

    @property
    def known_types(self) -> tuple[str, ...]:
        """The types that cells were held against."""
        return tuple(self._evidence.look.known.label_names)

    def __repr__(self) -> str:
        head = (
            f"{self.n_flagged:,} of {len(self.rows):,} cells fit nothing known at {self.rule}; "
            f"{len(self)} {'cluster' if len(self) == 1 else 'clusters'}. Calibrated on {self.calibration}."
        )
        return "\n".join(
            [head, *(f"  {flag!r}" for flag in self.flags), *(f"  Warning: {text}" for text in self.warnings)]
        )


def find_novel(
    model: Model,
    query: Atlas,
    *,
    rows: Rows | None = None,
    target_fpr: float = 0.05,
    seed: int = 0,
    method: Method = "combined",
    threshold: float = THESIS_THRESHOLD,
    training_atlas: Atlas | None = None,
    cell_cycle: CycleSource | None = None,
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
    method
        `"combined"`: neighbours in the latent, Mahalanobis distance on PCs and synthetic outliers together.
        `"knn"`, `"mahalanobis"`, `"synthetic"`: one of them alone. `"expression"`: the three on PCs, without a network;
        the model may be untrained (`ll.Cellular(atlas)`). `"query_aware"`: the three and a fourth that looks for what
        the query has more of than the reference; for cells of batches that the calibration has too, and held in memory
        (some 2 kB a cell). `"thesis"`: the rule of Andrekson (2024, section 2.7), a likelihood below `threshold`.
    threshold
        Of `method="thesis"` alone, in (0, 0.25]; `target_fpr` is then not read.
    training_atlas
        Of `method="query_aware"`: what the model was trained on, where it is no longer at `model.atlas_path`.
    cell_cycle
        A GMT file, or a mapping, with gene sets named S (or G1/S) and G2M (or G2/M), or two lists: flags then say how
        many of their cells divide.

    Returns
    -------
    Flags by size, and every scored cell's p-value.

    Raises
    ------
    CalibrationError
        If `method="query_aware"` is asked of batches that no calibration cell is of.
    GeneMismatchError
        If more than half of the model's genes are missing from the query; fewer are read as 0, with a warning.
    ModelError
        If nothing fitted is kept with the model, and its atlas is gone; or `method="thesis"` is asked of a model
        without a classifier.

    Notes
    -----
    Cells are scored in three ways, each score becomes a conformal p-value, and minus the sum of their logs one more
    (docs/methods.md has each step and its source). Known cells make false alarms, and false alarms cluster as well: at
    the rim of each type. So the flagged cells are clustered *together with the calibration cells that the same
    threshold flags*. Where only known cells live, scored and calibration cells fall into a cluster by their numbers; a
    flag is a cluster of at least five scored cells that has more of them than that, and its p-value is the
    hypergeometric tail of the excess, times the number of clusters tested, joints of linked clusters included (of
    nested ones the least likely is the flag). It holds where scored and calibration cells are exchangeable, whatever
    the clusters' shapes, and it can't be small where calibration cells are few against the cells scored: then a cluster
    could be a known population that they missed.
    """
    check_model(model, "find_novel")
    check_atlas(query, "find_novel")
    method = checked_method(method)
    target_fpr = threshold if method == "thesis" else target_fpr
    check_target(target_fpr, "threshold" if method == "thesis" else "target_fpr")
    lists = None if cell_cycle is None else cycle_lists(cell_cycle)
    if method == "thesis":
        check_classifier(model)  # not after a reference was fitted
    reference = load_reference(model)
    is_own = str(query.uuid) == reference.atlas_uuid
    if rows is None:
        unlabelled, validation = query.rows(labelled=False), query.rows("validation")
        chosen = np.union1d(unlabelled, validation) if is_own else query.rows()
    else:
        chosen = as_rows(rows, query.n_cells)
    scoring = scoring_for(model, reference, query, chosen, method, training_atlas=training_atlas, seed=seed)
    shared = shared_genes(reference.expression.genes, query.genes)
    cycle: CycleGenes | None = None
    without_cycle: tuple[str, ...] = ()
    if lists is not None:
        sums = reference.expression.sums.total[:, shared.in_reference].sum(axis=0)
        cycle, without_cycle = cycle_of_shared(lists, shared, sums)
    strange, totals, p_values = [scoring.known.at(-1.0)], [np.empty(0)], [np.empty(0)]
    for start in range(0, len(chosen), SCORE_CELLS):
        slab, total = scoring.slab(chosen, start, start + SCORE_CELLS)
        strange.append(slab.at(MAX_TARGET_FPR))
        totals.append(total)
        p_values.append(slab.p_value)
    evidence = Evidence(
        look=CloseLook(
            query=query,
            known=reference.known_cells,
            prototypes=scoring.prototypes,
            mean_total=model.mean_total,
            n_batches=len(np.unique(query.batch[chosen])) if query.batch_names else 0,
            depth_factor=1.0 if is_own else _depth_factor(reference, query, chosen),
            seed=seed,
            shared=shared,
            cycle=cycle,
        ),
        n_scored=len(chosen),
        n_calibration=scoring.conformal.n_cells,
        seed=seed,
        known=scoring.known,
        strange=StrangeCells.joined(strange),
    )
    text, n_missing = scoring.calibration, int((scoring.genes < 0).sum())
    if n_missing:
        text += (
            f". {n_missing:,} of the model's {len(scoring.genes):,} genes are missing here and read as 0: expect false "
            "alarms"
        )
    if isinstance(scoring.conformal, Conformal) and scoring.conformal.n_cells < 1 / target_fpr - 1:
        least = 1 / (scoring.conformal.n_cells + 1)
        text += f". Too few for a target of {target_fpr:.1%}: no p-value can be below {least:.2g}"
    return Novelty(
        rows=chosen,
        p_value=np.concatenate(p_values),
        score=np.concatenate(totals),
        target_fpr=target_fpr,
        calibration=text,
        flags=evidence.flags(target_fpr),
        method=method,
        warnings=(*scoring.warnings, *_weak(reference), *without_cycle),
        _evidence=evidence,
    )


def _depth_factor(reference: Reference, query: Atlas, rows: Rows) -> float:
    """Median counts of the query's cells over those of the known cells; 1 where either has none."""
    if reference.inspection is None or not len(rows):
        return 1.0
    usual = float(reference.inspection.measures.overall[MEASURES.index("depth"), 1])
    own = float(np.median(query.total[rows]))
    return own / usual if own > 0 and usual > 0 else 1.0


def _weak(reference: Reference) -> tuple[str, ...]:
    """The warning that some known types have close relatives: a new one among these would hardly be seen."""
    if reference.inspection is None:
        return ()
    weak, names = reference.inspection.weak, reference.label_names
    codes = weak.hardest
    if not codes:
        return ()
    named = [f"{names[code]} (beside {names[weak.nearest[code]]}, {weak.found[code]:.0%})" for code in codes[:3]]
    more = f" and {len(codes) - 3} more types" if len(codes) > 3 else ""
    return (
        f"Subtypes are hard to see: left out in turn, {', '.join(named)}{more} would be found in part only, by a quick "
        "estimate at 5 % false alarms. A new type as close to these may hide among them.",
    )
