"""What labelled cells express, beside a latent that somebody else made: no number of that latent is in it."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import gene_sums
from livelatent.atlas.hvg import among_highest, normalised_dispersion
from livelatent.atlas.passes import moments_of
from livelatent.errors import LabelError
from livelatent.judge.doublets import fit_doublets
from livelatent.judge.expression import REFERENCE_CELLS, log_genes, stratified_rows
from livelatent.judge.expression_fit import CALIBRATION_CELLS
from livelatent.judge.known_cells import KnownCells
from livelatent.judge.measures import cell_measures, known_measures, unmeasured
from livelatent.judge.projection import Projection
from livelatent.judge.shared_genes import SharedGenes
from livelatent.threads import one_thread

__all__ = ["LatentExpression", "fit_latent_expression"]

N_GENES = 2000
COMPONENT_CELLS = 4_000
"""Components are for doublets alone, which are made of as many cells; of 50,000 they would take half a minute."""


@dataclass(frozen=True, eq=False)
class LatentExpression:
    """Which labelled cells a latent is judged by, and what is known of them without it."""

    atlas: Atlas
    reference: Int[ndarray, " reference"]
    """Labelled training cells."""
    calibration: Int[ndarray, " calibration"]
    """Labelled calibration cells, which nothing here was fitted on."""
    known: KnownCells
    genes: Int[ndarray, " chosen"]
    """The most variable, which the components are of; none without counts."""
    projection: Projection | None
    notes: tuple[str, ...]
    """What can't be said of a flag here, and why."""

    @property
    def shared(self) -> SharedGenes:
        """All genes, each with itself: names may repeat in an AnnData."""
        every = np.arange(len(self.known.genes))
        return SharedGenes(self.known.genes, every, every)

    def projected(self, rows: Rows) -> Float[ndarray, "cell component"]:
        """Principal components of these sorted rows' expression."""
        assert self.projection is not None, "only what has counts is projected"
        return self.projection(log_genes(self.atlas, rows, self.genes, self.atlas.mean_total))


def fit_latent_expression(atlas: Atlas, *, seed: int = 0) -> LatentExpression:
    """Choose reference and calibration cells, and measure them as a model's reference measures its own.

    Raises
    ------
    LabelError
        If no training or no calibration cell has a label.

    Notes
    -----
    The measures are those of `fit_inspection`, on principal components of the 2,000 most variable genes.
    """
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    train, calibration = (atlas.rows(split, labelled=True) for split in ("train", "calibration"))
    for rows, what in ((train, "training"), (calibration, "calibration")):
        if not len(rows):
            raise LabelError(
                f"{atlas.path.name}: novelty is judged against labelled {what} cells, and there are none. Name a label "
                "column with more labels in it."
            )
    train = train[stratified_rows(label[train], REFERENCE_CELLS, seed=seed)]
    calibration = calibration[stratified_rows(label[calibration], CALIBRATION_CELLS, seed=seed)]
    own = label[train]
    x_all = log_genes(atlas, train, np.arange(atlas.n_genes), atlas.mean_total)
    genes, projection, doublets = np.zeros(0, np.int64), None, None
    measures = known_measures(unmeasured(len(calibration)), label[calibration], n_labels)
    missing = atlas.without_counts
    if missing is None:
        genes = _variable_genes(x_all, atlas.kept_genes)
        x, some = x_all[:, genes], stratified_rows(own, COMPONENT_CELLS, seed=seed)
        with one_thread():
            projection = Projection.of_cells(x[some])
            doublets = fit_doublets(x, atlas.total[train], own, projection, seed=seed)
            pcs = projection(log_genes(atlas, calibration, genes, atlas.mean_total))
            measured = cell_measures(atlas, calibration, pcs, doublets, atlas.mean_total)
        measures = known_measures(measured, label[calibration], n_labels)
    return LatentExpression(
        atlas=atlas,
        reference=train,
        calibration=calibration,
        known=KnownCells(
            label_names=tuple(atlas.label_names),
            genes=tuple(map(str, atlas.genes)),
            sums=gene_sums(x_all, own, n_labels),
            measures=measures,
            doublets=doublets,
        ),
        genes=genes,
        projection=projection,
        notes=() if missing is None else (missing,),
    )


def _variable_genes(x: sp.csr_matrix, kept: ndarray) -> Int[ndarray, " chosen"]:
    """The most variable genes, as `highly_variable_genes` has them."""
    moments, genes = moments_of(x), np.flatnonzero(kept)
    spread = normalised_dispersion(moments.mean[genes], moments.variance[genes])
    chosen = among_highest(spread, N_GENES)
    # Where no dispersion stands out (a handful of genes), all are as good.
    return np.asarray(genes[chosen] if chosen.any() else genes, np.int64)
