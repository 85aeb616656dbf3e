"""What is fitted on the training atlas's expression: half of a reference, and no weight of the model is in it."""

import hashlib
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import GeneSums, gene_sums
from livelatent.errors import LabelError
from livelatent.judge.batches import packed
from livelatent.judge.expression import REFERENCE_CELLS, gene_indices, log_genes, stratified_rows
from livelatent.judge.logistic import Logistic, fit_logistic
from livelatent.judge.novelty.mahalanobis import MahalanobisScore, fit_mahalanobis
from livelatent.judge.novelty.synthetic import SyntheticScore, fit_synthetic
from livelatent.judge.projection import Projection
from livelatent.models.model import Model

__all__ = ["Expression", "batch_folds", "expression_key", "fit_expression"]

CALIBRATION_CELLS = 20_000
# Batches are held back one by one up to this many, in this many groups above: each costs a fit of scores 2 and 3.
BATCH_FOLDS = 5
MIN_BATCHES = 3


@dataclass(frozen=True)
class Expression:
    """What depends on the atlas and the model's genes, but on no weight: kept while a model trains on."""

    key: str
    """Sha256 of everything that this was fitted on."""
    genes: tuple[str, ...]
    """Of markers: all genes of the atlas."""
    projection: Projection
    lr_raw: Logistic
    lr_pca: Logistic
    mahalanobis: MahalanobisScore
    synthetic: SyntheticScore
    sums: GeneSums
    reference: Int[ndarray, " reference"]
    """Store rows of the reference cells, labelled training cells all."""
    calibration: Int[ndarray, " calibration"]
    """Store rows of the calibration cells, which nothing above has seen."""
    calibration_pcs: Float[ndarray, "calibration component"]
    calibration_label: Int[ndarray, " calibration"]
    calibration_log_proba: Float[ndarray, "two calibration label"]
    """Of `lr_raw` and `lr_pca`."""
    scores: Float[ndarray, "two calibration"]
    """Scores 2 and 3 of the calibration cells."""
    fold: Int[ndarray, " calibration"]
    """Which group of batches each calibration cell is of; -1 where none is held back, or its type is in no other."""
    fold_of_batch: Int[ndarray, " batch"]
    fold_scores: Float[ndarray, "two calibration"]
    """The same scores from a reference without that group of batches; NaN where `fold` is -1."""


def expression_key(model: Model, atlas: Atlas, seed: int) -> str:
    """A hash of all that `fit_expression` reads, cells' counts excepted: a store's rows never change."""
    digest = hashlib.sha256()
    facts = [
        atlas.uuid,
        model.mean_total,
        seed,
        *atlas.label_names,
        "genes",
        *model.genes,
        "batches",
        *atlas.batch_names,
    ]
    digest.update("\0".join(map(str, facts)).encode())
    for split in ("train", "calibration"):
        rows = atlas.rows(split, labelled=True)
        for array in (rows, atlas.label[rows], atlas.batch[rows]):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    return digest.hexdigest()


def fit_expression(model: Model, atlas: Atlas, key: str, seed: int) -> Expression:
    """PCA, both regressions on expression, scores 2 and 3, and sums for markers."""
    train = atlas.rows("train", labelled=True)
    calibration = atlas.rows("calibration", labelled=True)
    for rows, what in ((train, "training"), (calibration, "calibration")):
        if not len(rows):
            raise LabelError(
                f"{atlas.path}: novelty is judged against labelled {what} cells, and there are none. Label more cells, "
                "or name the label column when you ingest; `annotate(..., target_fpr=None)` names cells without it."
            )
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    genes = gene_indices(atlas, model.genes)
    projection = Projection.fit(atlas, genes, train, model.mean_total)
    train = train[stratified_rows(label[train], REFERENCE_CELLS, seed=seed)]
    calibration = calibration[stratified_rows(label[calibration], CALIBRATION_CELLS, seed=seed)]
    x_all = log_genes(atlas, train, np.arange(atlas.n_genes), model.mean_total)
    x = x_all[:, genes]
    x_calibration = log_genes(atlas, calibration, genes, model.mean_total)
    pcs, calibration_pcs = projection(x), projection(x_calibration)
    lr_raw, lr_pca = fit_logistic(x, label[train], n_labels), fit_logistic(pcs, label[train], n_labels)

    fold_of_batch = batch_folds(atlas.batch[train], max(len(atlas.batch_names), 1))
    fold, fold_scores = _scores_without_own_batch(
        pcs,
        label[train],
        fold_of_batch[atlas.batch[train]],
        calibration_pcs,
        label[calibration],
        fold_of_batch[atlas.batch[calibration]],
        n_labels,
        seed,
    )
    mahalanobis = fit_mahalanobis(pcs, label[train], n_labels)
    synthetic = fit_synthetic(pcs, label[train], seed=seed)
    return Expression(
        key=key,
        genes=tuple(map(str, atlas.genes)),
        projection=projection,
        lr_raw=lr_raw,
        lr_pca=lr_pca,
        mahalanobis=mahalanobis,
        synthetic=synthetic,
        sums=gene_sums(x_all, label[train], n_labels),
        reference=train,
        calibration=calibration,
        calibration_pcs=calibration_pcs,
        calibration_label=label[calibration].astype(np.int64),
        calibration_log_proba=np.stack([lr_raw.log_proba(x_calibration), lr_pca.log_proba(calibration_pcs)]),
        scores=np.stack([mahalanobis.score(calibration_pcs), synthetic.score(calibration_pcs)]),
        fold=fold,
        fold_of_batch=fold_of_batch,
        fold_scores=fold_scores,
    )


def batch_folds(batch: Int[ndarray, " cell"], n_batches: int) -> Int[ndarray, " batch"]:
    """Which group each batch is held back in, as equal in cells as whole batches allow; all -1 below three batches."""
    count = np.bincount(batch[batch >= 0], minlength=n_batches)
    n_folds = min(BATCH_FOLDS, int((count > 0).sum()))
    folds = packed(count, n_folds) if n_folds >= MIN_BATCHES else np.full(n_batches, -1, np.int64)
    return np.append(folds, -1)  # the last answers a cell of no batch


def _scores_without_own_batch(
    pcs: Float[ndarray, "reference component"],
    label: Int[ndarray, " reference"],
    fold: Int[ndarray, " reference"],
    calibration_pcs: Float[ndarray, "calibration component"],
    calibration_label: Int[ndarray, " calibration"],
    calibration_fold: Int[ndarray, " calibration"],
    n_labels: int,
    seed: int,
) -> tuple[Int[ndarray, " calibration"], Float[ndarray, "two calibration"]]:
    """Scores 2 and 3 of each calibration cell from a reference without its batch, and the folds that could be used."""
    used = np.full(len(calibration_fold), -1, np.int64)
    scores = np.full((2, len(calibration_fold)), np.nan)
    for held in np.unique(calibration_fold[calibration_fold >= 0]):
        rest = fold != held
        # A cell whose type is in no other batch would be new there, and rightly strange.
        out = np.flatnonzero((calibration_fold == held) & np.isin(calibration_label, label[rest]))
        if not out.size or not rest.any():
            continue
        used[out] = held
        scores[0, out] = fit_mahalanobis(pcs[rest], label[rest], n_labels).score(calibration_pcs[out])
        scores[1, out] = fit_synthetic(pcs[rest], label[rest], seed=seed).score(calibration_pcs[out])
    return used, scores
