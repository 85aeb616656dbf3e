"""What is fitted on the model's latent: the other half of a reference, fitted again whenever weights change."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.expression_fit import Expression
from livelatent.judge.logistic import Logistic, fit_logistic
from livelatent.judge.novelty.knn import KnnScore, fit_knn, knn_without_own_batch
from livelatent.judge.prototypes import Prototypes, fit_prototypes
from livelatent.judge.stack import fit_pool
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["Latent", "fit_latent", "stretched"]


@dataclass(frozen=True)
class Latent:
    """What depends on the model's weights too."""

    model_sha256: str
    knn: KnnScore
    lr_latent: Logistic
    pool_weights: Float[ndarray, " head"]
    """Of `lr_raw`, `lr_pca` and `lr_latent` in the annotator."""
    prototypes: Prototypes
    calibration: Float[ndarray, "calibration latent"]
    scores: Float[ndarray, " calibration"]
    """Score 1 of the calibration cells."""
    fold_scores: Float[ndarray, " calibration"]


def fit_latent(model: Model, atlas: Atlas, expression: Expression, sha256: str, seed: int) -> Latent:
    """Score 1, the regression on the latent, the annotator's weights and the prototypes."""
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    own, own_label = expression.reference, label[expression.reference]
    latent = embed(model, atlas, own)
    calibration = embed(model, atlas, expression.calibration)
    knn = fit_knn(latent, own_label, n_labels, seed=seed)
    predicted = expression.lr_pca.predict(expression.calibration_pcs)
    own_fold = expression.fold_of_batch[atlas.batch[own]]
    lr_latent = fit_logistic(stretched(latent), own_label, n_labels)
    log_proba = np.concatenate([expression.calibration_log_proba, lr_latent.log_proba(stretched(calibration))[None]])
    return Latent(
        model_sha256=sha256,
        knn=knn,
        lr_latent=lr_latent,
        pool_weights=fit_pool(log_proba, expression.calibration_label),
        prototypes=fit_prototypes(latent, own_label, tuple(atlas.label_names), own),
        calibration=calibration,
        scores=knn.score(calibration, predicted),
        fold_scores=knn_without_own_batch(
            latent, own_label, own_fold, calibration, predicted, expression.fold, seed=seed
        ),
    )


def stretched(latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell latent"]:
    """Latents of unit length, stretched so that a dimension's values are near 1: the penalty of C = 1 expects that."""
    return np.asarray(latent * np.sqrt(latent.shape[1]), np.float32)
