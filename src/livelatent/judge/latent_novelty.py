"""Novelty in a latent that somebody else made: scores from vectors and labels alone, what flags say from expression."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.cell_cycle import CycleGenes
from livelatent.judge.close_look import CloseLook
from livelatent.judge.cycle_lists import CycleSource, cycle_lists
from livelatent.judge.evidence import Evidence, StrangeCells
from livelatent.judge.flags import SCORE_CELLS, Novelty
from livelatent.judge.latent_expression import LatentExpression, fit_latent_expression
from livelatent.judge.logistic import Logistic, fit_logistic
from livelatent.judge.neighbors import mean_distance
from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.mahalanobis import MahalanobisScore, fit_mahalanobis
from livelatent.judge.novelty.synthetic import SyntheticScore, fit_synthetic
from livelatent.judge.novelty.target import MAX_TARGET_FPR, check_target
from livelatent.judge.prototypes import Prototypes, fit_prototypes
from livelatent.judge.shared_genes import cycle_of_shared
from livelatent.threads import one_thread

__all__ = ["LatentReference", "find_novel_in", "fit_latent_reference"]

Embed = Callable[[Rows], Float[ndarray, "cell latent"]]

NEIGHBORS = 10
SCALE_CELLS = 1000


@dataclass(frozen=True, eq=False)
class LatentReference:
    """What labelled cells look like in one latent, and the calibration cells that it has not seen."""

    label_names: tuple[str, ...]
    centre: Float[ndarray, " latent"]
    spread: float
    points: Float[ndarray, "reference latent"]
    """Scaled, as all that follows."""
    scale: Float[ndarray, " label"]
    """What is usual for a type: median distance of its cells to their neighbours."""
    regression: Logistic
    mahalanobis: MahalanobisScore
    synthetic: SyntheticScore
    prototypes: Prototypes
    """In the latent as it is."""
    expression: LatentExpression
    conformal: Conformal
    known: StrangeCells

    def scaled(self, latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell latent"]:
        """The latent with values near 1: the penalty of a regression expects that."""
        return np.asarray((latent - self.centre) / self.spread, np.float32)

    def scores(self, latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "score cell"]:
        """The three scores (docs/methods.md), larger is stranger; `latent` as it is."""
        x = self.scaled(latent)
        return _scores(self.points, self.scale, self.regression, self.mahalanobis, self.synthetic, x)


def fit_latent_reference(
    embed: Embed, atlas: Atlas, *, expression: LatentExpression | None = None, seed: int = 0
) -> LatentReference:
    """Fit the three scores and a regression on the labelled training cells, and calibrate on the calibration cells.

    Parameters
    ----------
    embed
        Gives the latent of sorted rows.
    expression
        What `fit_latent_expression` gave for this atlas and seed, where it is there already: another latent of the
        same cells needs no other. None fits it.

    Raises
    ------
    LabelError
        If no training or no calibration cell has a label.

    Notes
    -----
    The scores of `find_novel` with the latent in place of both the network's and the principal components. Neighbours
    are counted by distance, not by angle: only our own latents have length 1. Whatever made the latent has seen the
    calibration cells as it has seen all others, so these are exchangeable with the cells scored; the labels it may have
    been given are another matter, see `find_novel_in`.
    """
    expression = fit_latent_expression(atlas, seed=seed) if expression is None else expression
    train, calibration = expression.reference, expression.calibration
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    latent, held = embed(train), embed(calibration)
    own = label[train]
    centre = latent.mean(axis=0)
    spread = max(float(latent.std(axis=0).mean()), 1e-12)
    points = np.asarray((latent - centre) / spread, np.float32)
    with one_thread():
        regression = fit_logistic(points, own, n_labels)
        mahalanobis = fit_mahalanobis(points, own, n_labels)
        synthetic = fit_synthetic(points, own, seed=seed)
        scale = _usual_distance(points, own, n_labels, seed)
        x = np.asarray((held - centre) / spread, np.float32)
        conformal = Conformal(_scores(points, scale, regression, mahalanobis, synthetic, x))
    return LatentReference(
        label_names=tuple(atlas.label_names),
        centre=centre,
        spread=spread,
        points=points,
        scale=scale,
        regression=regression,
        mahalanobis=mahalanobis,
        synthetic=synthetic,
        prototypes=fit_prototypes(latent, own, tuple(atlas.label_names), train),
        expression=expression,
        conformal=conformal,
        known=StrangeCells(calibration, conformal.p_value, held, held),
    )


def find_novel_in(
    reference: LatentReference,
    embed: Embed,
    *,
    rows: Rows | None = None,
    target_fpr: float = 0.05,
    seed: int = 0,
    cell_cycle: CycleSource | None = None,
) -> Novelty:
    """Clusters of cells that fit no labelled type, in a latent that somebody else made.

    Parameters
    ----------
    rows
        Cells to score. None: those without a label, and the validation cells.
    cell_cycle
        Genes of S and G2M, as `find_novel` takes them.

    Returns
    -------
    As `find_novel`.

    Notes
    -----
    A latent that was trained with these labels (scANVI's) has pulled each labelled cell towards its type, and no
    unlabelled one: then known cells without a label look stranger than calibration cells, and more of them are flagged
    than asked for. Nobody can tell from the latent, so the calibration says it.
    """
    check_target(target_fpr)
    atlas = reference.expression.atlas
    if rows is None:
        chosen = np.union1d(atlas.rows(labelled=False), atlas.rows("validation"))
    else:
        chosen = as_rows(rows, atlas.n_cells)
    expression, shared = reference.expression, reference.expression.shared
    cycle: CycleGenes | None = None
    without_cycle: tuple[str, ...] = ()
    if cell_cycle is not None:
        cycle, without_cycle = cycle_of_shared(cycle_lists(cell_cycle), shared, expression.known.sums.total.sum(axis=0))
    strange, totals, p_values = [reference.known.at(-1.0)], [np.empty(0)], [np.empty(0)]
    for start in range(0, len(chosen), SCORE_CELLS):
        own = chosen[start : start + SCORE_CELLS]
        latent = embed(own)
        total, p_value = reference.conformal.combine(reference.scores(latent))
        strange.append(StrangeCells(own, p_value, latent, latent).at(MAX_TARGET_FPR))
        totals.append(total)
        p_values.append(p_value)
    evidence = Evidence(
        look=CloseLook(
            query=atlas,
            known=expression.known,
            prototypes=reference.prototypes,
            mean_total=atlas.mean_total,
            n_batches=len(np.unique(atlas.batch[chosen])) if atlas.batch_names else 0,
            depth_factor=1.0,
            seed=seed,
            shared=shared,
            cycle=cycle,
            projected=expression.projected,
        ),
        n_scored=len(chosen),
        n_calibration=reference.conformal.n_cells,
        seed=seed,
        known=reference.known,
        strange=StrangeCells.joined(strange),
    )
    text = (
        f"{reference.conformal.n_cells:,} calibration cells drawn at random; a latent that was trained with these "
        "labels gives more false alarms than asked for"
    )
    return Novelty(
        rows=chosen,
        p_value=np.concatenate(p_values),
        score=np.concatenate(totals),
        target_fpr=target_fpr,
        calibration=text,
        flags=evidence.flags(target_fpr),
        method="combined",
        warnings=(*expression.notes, *without_cycle),
        _evidence=evidence,
    )


def _scores(
    points: Float[ndarray, "reference latent"],
    scale: Float[ndarray, " label"],
    regression: Logistic,
    mahalanobis: MahalanobisScore,
    synthetic: SyntheticScore,
    x: Float[ndarray, "cell latent"],
) -> Float[ndarray, "score cell"]:
    near = mean_distance(x, points, NEIGHBORS) / scale[regression.predict(x)]
    return np.array([near, mahalanobis.score(x), synthetic.score(x)], np.float64).reshape(3, len(x))


def _usual_distance(
    points: Float[ndarray, "reference latent"], label: Int[ndarray, " reference"], n_labels: int, seed: int
) -> Float[ndarray, " label"]:
    """Each type's median distance to its cells' neighbours; of all cells where a type has fewer than three."""
    if len(points) < 2:
        return np.ones(n_labels)
    rng = np.random.default_rng(seed)
    codes = [np.flatnonzero(label == code) for code in range(n_labels)]
    cells = np.concatenate([rng.choice(own, min(len(own), SCALE_CELLS), replace=False) for own in codes])
    distance = mean_distance(points[cells], points, NEIGHBORS, own=cells)
    common = float(np.median(distance)) or 1.0
    scale = np.full(n_labels, common)
    for code in range(n_labels):
        own = distance[label[cells] == code]
        if len(own) >= 3 and np.median(own) > 1e-3 * common:
            scale[code] = np.median(own)
    return scale
