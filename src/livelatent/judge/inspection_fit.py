"""What flags are inspected with, and the scores that need no network: fitted once an atlas, no weight is in it."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.doublets import Doublets, fit_doublets
from livelatent.judge.expression import gene_indices, log_genes
from livelatent.judge.expression_fit import Expression
from livelatent.judge.measures import KnownMeasures, cell_measures, known_measures
from livelatent.judge.novelty.knn import KnnScore, fit_knn, knn_without_own_batch
from livelatent.judge.prototypes import Prototypes, fit_prototypes
from livelatent.judge.weak_types import WeakTypes, weak_types
from livelatent.models.model import Model

__all__ = ["Inspection", "fit_inspection"]


@dataclass(frozen=True)
class Inspection:
    """The third part of a reference; absent in those that earlier versions kept."""

    key: str
    """That of the `Expression` it belongs to."""
    knn: KnnScore
    """Score 1 on principal components, where there is no network."""
    knn_scores: Float[ndarray, " calibration"]
    knn_fold_scores: Float[ndarray, " calibration"]
    prototypes: Prototypes
    """In principal components."""
    weak: WeakTypes
    doublets: Doublets
    measures: KnownMeasures


def fit_inspection(model: Model, atlas: Atlas, expression: Expression, seed: int) -> Inspection:
    """Read the reference cells once more, and fit all of it."""
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    own, own_label = expression.reference, label[expression.reference]
    x = log_genes(atlas, own, gene_indices(atlas, model.genes), model.mean_total)
    pcs, calibration_pcs = expression.projection(x), expression.calibration_pcs
    knn = fit_knn(pcs, own_label, n_labels, seed=seed)
    predicted = expression.lr_pca.predict(calibration_pcs)
    own_fold = expression.fold_of_batch[atlas.batch[own]]
    doublets = fit_doublets(x, atlas.total[own], own_label, expression.projection, seed=seed)
    measures = cell_measures(atlas, expression.calibration, calibration_pcs, doublets, model.mean_total)
    return Inspection(
        key=expression.key,
        knn=knn,
        knn_scores=knn.score(calibration_pcs, predicted),
        knn_fold_scores=knn_without_own_batch(
            pcs, own_label, own_fold, calibration_pcs, predicted, expression.fold, seed=seed
        ),
        prototypes=fit_prototypes(pcs, own_label, tuple(atlas.label_names), own),
        weak=weak_types(
            expression.mahalanobis, pcs, own_label, calibration_pcs, expression.calibration_label, seed=seed
        ),
        doublets=doublets,
        measures=known_measures(measures, expression.calibration_label, n_labels),
    )
