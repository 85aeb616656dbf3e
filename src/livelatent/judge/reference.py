"""What `judge` learns from the training atlas, once: all that naming and novelty need afterwards."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from livelatent import atomic
from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError, LivelatentError, ModelError
from livelatent.judge import keep
from livelatent.judge.expression import REFERENCE_CELLS, gene_indices, log_genes, stratified_rows
from livelatent.judge.logistic import Logistic, fit_logistic
from livelatent.judge.markers import GeneSums, gene_sums
from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.knn import KnnScore, fit_knn
from livelatent.judge.novelty.mahalanobis import MahalanobisScore, fit_mahalanobis
from livelatent.judge.novelty.synthetic import SyntheticScore, fit_synthetic
from livelatent.judge.prototypes import Prototypes, fit_prototypes
from livelatent.judge.stack import fit_pool
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Reference", "fit_reference", "load_reference"]

N_COMPONENTS = 50
CALIBRATION_CELLS = 20_000
# Batches are held back one by one up to this many, in this many groups above: each costs a fit of scores 2 and 3.
BATCH_FOLDS = 5
MIN_BATCHES = 3


@dataclass(frozen=True)
class Projection:
    """Principal components of log expression."""

    components: Float[ndarray, "component gene"]
    mean: Float[ndarray, " gene"]

    @classmethod
    def fit(cls, atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows, mean_total: float) -> "Projection":
        """50 components by streaming, or as many as the cells and genes allow; one of zeros for a single cell."""
        from livelatent.atlas.pca import pca

        n_components = min(N_COMPONENTS, len(rows) - 1, len(genes))
        if n_components < 1:
            return cls(np.zeros((1, len(genes)), np.float32), np.zeros(len(genes), np.float32))
        fitted = pca(atlas, genes, n_components, rows, mean_total=mean_total)
        return cls(np.asarray(fitted.components, np.float32), np.asarray(fitted.mean, np.float32))

    def __call__(self, x: Any) -> Float[ndarray, "cell component"]:
        """PCs of log expression, dense or scipy sparse."""
        return np.asarray(x @ self.components.T - self.mean @ self.components.T, np.float32)


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


@dataclass(frozen=True)
class Reference:
    """Everything that `find_novel` and `annotate` need; fitted by `fit_reference`, kept in `model.folder/judge`."""

    atlas_uuid: str
    label_names: tuple[str, ...]
    batch_names: tuple[str, ...]
    """Batches with a labelled training cell."""
    calibration_is_new_batches: bool
    """True where no calibration cell is of a batch that the model was trained on."""
    expression: Expression
    latent: Latent

    @property
    def prototypes(self) -> Prototypes:
        """One centroid, median, medoid and radius for each type, in the model's latent space."""
        return self.latent.prototypes

    def scores(
        self, latent: Float[ndarray, "cell latent"], pcs: Float[ndarray, "cell component"]
    ) -> Float[ndarray, "score cell"]:
        """The three novelty scores of recipe A."""
        predicted = self.expression.lr_pca.predict(pcs)
        return np.stack(
            [
                self.latent.knn.score(latent, predicted),
                self.expression.mahalanobis.score(pcs),
                self.expression.synthetic.score(pcs),
            ]
        ).astype(np.float64)

    def calibration_for(
        self, batch_names: tuple[str, ...], *, is_own: bool
    ) -> tuple[Conformal, Int[ndarray, " calibration"], str]:
        """The calibration that fits a query of these batches, which of the calibration cells it is of, and its name.

        Notes
        -----
        Recipe A.7. Where a batch of the query is new to the model, random calibration cells look more familiar than
        any cell of it could, and false alarms ran to 11 % for 5 % asked. Held-back batches mend the reference's part
        of that, not the encoder's, which has still seen their training cells: retraining it for each batch is left
        to those who can wait.
        """
        everything = np.vstack([self.latent.scores[None], self.expression.scores])
        cells = np.arange(everything.shape[1])
        new = [name for name in batch_names if name not in self.batch_names]
        is_known = not new if batch_names else is_own
        n = f"{len(cells):,} calibration cells"
        if self.calibration_is_new_batches:
            return Conformal(everything), cells, f"{n} of batches that the model was not trained on"
        if is_known:
            return Conformal(everything), cells, f"{n} drawn at random, of the batches that the model was trained on"
        held = np.flatnonzero(self.expression.fold >= 0)
        if held.size:
            out = np.vstack([self.latent.fold_scores[None], self.expression.fold_scores])[:, held]
            n_folds = len(np.unique(self.expression.fold[held]))
            text = f"{len(held):,} calibration cells, each scored without its own batch ({n_folds} groups of batches)"
            return Conformal(out), held, text
        if len(new) == 1:
            unknown = f"{new[0]} is new to the model"
        else:
            unknown = f"{len(new)} of the batches are new to the model" if new else "these cells name no batch"
        text = f"{n} drawn at random; {unknown}, so expect more false alarms than asked for"
        return Conformal(everything), cells, text


_IN_MEMORY: "WeakKeyDictionary[Model, Reference]" = WeakKeyDictionary()
# The last one of each atlas: models trained one after another on the same cells share it.
_EXPRESSION: "WeakKeyDictionary[Atlas, Expression]" = WeakKeyDictionary()
# A view's thread and the notebook may both ask; the second then finds what the first has fitted.
_FITTING = threading.RLock()


def fit_reference(model: Model, atlas: Atlas, *, force: bool = False, seed: int = 0) -> Reference:
    """Fit what naming cells and finding new ones needs, or give back what is kept, where it still fits.

    Parameters
    ----------
    atlas
        What the model was trained on: labelled training cells are the reference, labelled calibration cells the
        calibration.
    force
        Fit again, whatever is kept.

    Returns
    -------
    Also kept: in `model.folder/judge` if the model has a folder, and in memory for as long as the model is.

    Raises
    ------
    LabelError
        If no training or no calibration cell has a label.

    Notes
    -----
    Recipe A of EVIDENCE.md without its query-aware option. Regressions, networks and neighbours are fitted in memory
    on at most 50,000 cells: types keep their shares, rare ones stay whole. The PCA is of all labelled training cells.
    """
    with _FITTING, one_thread():
        sha256, key = model.sha256(), _expression_key(model, atlas, seed)
        kept = None if force else _kept(model)
        if kept is not None and kept.latent.model_sha256 == sha256 and kept.expression.key == key:
            return kept
        candidates = [] if force else [kept.expression if kept else None, _EXPRESSION.get(atlas)]
        fitting = [one for one in candidates if one is not None and one.key == key]
        expression = fitting[0] if fitting else _fit_expression(model, atlas, key, seed)
        train = np.unique(atlas.batch[atlas.rows("train", labelled=True)])
        held = np.unique(atlas.batch[expression.calibration])
        reference = Reference(
            atlas_uuid=str(atlas.uuid),
            label_names=tuple(atlas.label_names),
            batch_names=tuple(atlas.batch_names[code] for code in train if 0 <= code < len(atlas.batch_names)),
            calibration_is_new_batches=not np.isin(held, train).any(),
            expression=expression,
            latent=_fit_latent(model, atlas, expression, sha256, seed),
        )
        _EXPRESSION[atlas] = expression
        _IN_MEMORY[model] = reference
        if model.folder is not None:
            with atomic.fresh_folder(Path(model.folder) / "judge") as folder:
                keep.write(folder, "reference", reference)
        return reference


def load_reference(model: Model) -> Reference:
    """What `fit_reference` kept for these weights, or a fresh fit on the atlas that the model names.

    Raises
    ------
    ModelError
        If nothing kept fits, and the model's atlas is gone.
    """
    kept, trouble = None, f"nothing is kept in {model.folder}" if model.folder else "the model was never saved"
    try:
        kept = _kept(model, raises=True)
    except ModelError as error:
        trouble = str(error)
    if kept is not None:
        if kept.latent.model_sha256 == model.sha256():
            return kept
        trouble = "what is kept belongs to other weights of this model"
    try:
        if not model.atlas_path:
            raise ModelError("the model names no atlas")
        atlas = Atlas.open(model.atlas_path)
    except (LivelatentError, OSError) as error:
        raise ModelError(
            f"The model's reference (prototypes, novelty scores, calibration) is wanted, and {trouble}. It can't be "
            f"fitted again, because its atlas can't be opened ({error}). Call `fit_reference(model, atlas)` with the "
            "atlas that it was trained on, then save the model."
        ) from error
    return fit_reference(model, atlas)


def _kept(model: Model, *, raises: bool = False) -> Reference | None:
    """What memory or the model's folder holds, for whatever weights; None where nothing readable is."""
    found = _IN_MEMORY.get(model)
    if found is None and model.folder is not None and (Path(model.folder) / "judge").exists():
        try:
            found = keep.read(Path(model.folder) / "judge", "reference", Reference)
        except ModelError:
            if raises:
                raise
    if found is not None:
        _IN_MEMORY[model] = found
    return found


def _expression_key(model: Model, atlas: Atlas, seed: int) -> str:
    """A hash of all that `_fit_expression` reads, cells' counts excepted: a store's rows never change."""
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


def _fit_expression(model: Model, atlas: Atlas, key: str, seed: int) -> Expression:
    """PCA, both regressions on expression, scores 2 and 3, and sums for markers."""
    train = atlas.rows("train", labelled=True)
    calibration = atlas.rows("calibration", labelled=True)
    for rows, what in ((train, "training"), (calibration, "calibration")):
        if not len(rows):
            raise LabelError(
                f"{atlas.path}: novelty is judged against labelled {what} cells, and there are none. Label more cells, "
                "or name the label column when you ingest."
            )
    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    genes = gene_indices(atlas, tuple(map(str, model.genes)))
    projection = Projection.fit(atlas, genes, train, float(model.mean_total))
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


def _fit_latent(model: Model, atlas: Atlas, expression: Expression, sha256: str, seed: int) -> Latent:
    """Score 1, the regression on the latent, the annotator's weights and the prototypes."""
    from livelatent.train.embed import embed

    label, n_labels = np.asarray(atlas.label), len(atlas.label_names)
    own, own_label = expression.reference, label[expression.reference]
    latent = embed(model, atlas, own)
    calibration = embed(model, atlas, expression.calibration)
    knn = fit_knn(latent, own_label, n_labels, seed=seed)
    predicted = expression.lr_pca.predict(expression.calibration_pcs)
    fold_scores = np.full(len(calibration), np.nan)
    for fold in np.unique(expression.fold[expression.fold >= 0]):
        rest = expression.fold_of_batch[atlas.batch[own]] != fold
        out = np.flatnonzero(expression.fold == fold)
        without = fit_knn(latent[rest], own_label[rest], n_labels, seed=seed)
        fold_scores[out] = without.score(calibration[out], predicted[out])
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
        fold_scores=fold_scores,
    )


def stretched(latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell latent"]:
    """Latents of unit length, stretched so that a dimension's values are near 1: the penalty of C = 1 expects that."""
    return np.asarray(latent * np.sqrt(latent.shape[1]), np.float32)


def batch_folds(batch: Int[ndarray, " cell"], n_batches: int) -> Int[ndarray, " batch"]:
    """Which group each batch is held back in, as equal in cells as whole batches allow; all -1 below three batches."""
    count = np.bincount(batch[batch >= 0], minlength=n_batches)
    folds = np.full(n_batches + 1, -1, np.int64)  # the last answers a cell of no batch
    if (count > 0).sum() < MIN_BATCHES:
        return folds
    size = np.zeros(min(BATCH_FOLDS, int((count > 0).sum())), np.int64)
    for code in np.argsort(-count, kind="stable"):
        if count[code]:
            folds[code] = np.argmin(size)
            size[folds[code]] += count[code]
    return folds


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
