"""How well the annotator names cells, with both logistic regressions beside it: never one without the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.judge.annotator import fit_annotator
from livelatent.judge.expression import gene_indices, log_genes, stratified_rows
from livelatent.judge.held_back import stratified_folds
from livelatent.judge.logistic import fit_logistic
from livelatent.judge.training import train_latent
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Scorecard", "five_fold"]

N_FOLDS = 5
ROWS = ("annotator", "lr_raw", "lr_pca")


@dataclass(frozen=True)
class Scorecard:
    """Accuracy of the annotator and of two logistic regressions on the same folds."""

    folds: pd.DataFrame
    """A row per fold; columns annotator, lr_raw, lr_pca."""
    n_cells: int
    """Labelled cells in all folds together."""
    n_left_out: int
    """Labelled cells beyond `max_cells`, in no fold."""

    def __getitem__(self, name: str) -> float:
        """Mean accuracy over the folds of one column."""
        return float(self.folds[name].mean())


def five_fold(
    atlas: Atlas,
    make_model: Callable[[Atlas, Rows], Model] | None = None,
    *,
    epochs: int | None = None,
    max_cells: int = 20_000,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> Scorecard:
    """Accuracy over five stratified folds of the labelled cells that QC keeps.

    Parameters
    ----------
    make_model
        Gives an untrained model for the rows that it may use; None: `Cellular(atlas, rows=rows)`.
    epochs
        Of each fold's training; None: the model's own.
    max_cells
        More labelled cells than this are sampled, stratified by type; the scorecard says how many were left out.
    progress
        Called with the share done.

    Raises
    ------
    LabelError
        If fewer than two types have at least two cells.

    Notes
    -----
    In each fold all that is fitted (genes, network, PCA, regressions, the annotator's weights) sees the fold's
    training cells only. Both baselines are trained on all of them: raw LR on every gene of the atlas, PCA + LR on 50
    PCs of the model's genes. The annotator's network learns from those of the training split and stops by those of
    the validation split; its weights are fitted the quick way (`fit_annotator(retrain=False)`) on those of both other
    splits, which folds drawn at random ask no more of, and its regressions then on all of them.
    """
    if make_model is None:
        from livelatent.models.cellular import Cellular

        def make_model(atlas: Atlas, rows: Rows) -> Model:
            return Cellular(atlas, rows=rows)

    label = np.where(atlas.kept, np.asarray(atlas.label, np.int64), -1)
    count = np.bincount(label[label >= 0], minlength=1)
    if (count >= 2).sum() < 2:
        raise LabelError(
            f"{atlas.path}: cross-validation needs two types with at least two labelled cells each; "
            f"got {int((count >= 2).sum())}."
        )
    rows = stratified_rows(label, max_cells, seed=seed)
    fold_of = stratified_folds(label[rows], N_FOLDS, seed=seed)
    scores = []
    for fold in range(N_FOLDS):
        training, held = rows[fold_of != fold], rows[fold_of == fold]
        model = make_model(atlas, training)

        def told(share: float, fold: int = fold) -> None:
            if progress is not None:
                progress((fold + 0.9 * share) / N_FOLDS)

        train_latent(model, atlas, training, epochs=epochs, device=device, progress=told)
        with one_thread():
            scores.append(_fold_scores(model, atlas, training, held, device))
        if progress is not None:
            progress((fold + 1) / N_FOLDS)
    return Scorecard(
        folds=pd.DataFrame(scores, columns=list(ROWS)),
        n_cells=len(rows),
        n_left_out=int((label >= 0).sum()) - len(rows),
    )


def _fold_scores(
    model: Model, atlas: Atlas, training: Rows, held: Int[ndarray, " held"], device: str
) -> tuple[float, float, float]:
    """Accuracy on the held cells of what is fitted on the training cells."""
    annotator = fit_annotator(model, atlas, rows=training, retrain=False, device=device)
    label, n_labels = np.asarray(atlas.label, np.int64), len(atlas.label_names)
    x, x_held = (log_genes(atlas, rows, np.arange(atlas.n_genes), model.mean_total) for rows in (training, held))
    genes = gene_indices(atlas, model.genes)
    predictions = (
        np.argmax(annotator.log_proba(model, atlas, held, device), axis=1),
        fit_logistic(x, label[training], n_labels).predict(x_held),
        # The annotator's own head: 50 components and a regression on them, of all training cells.
        annotator.heads.lr_pca.predict(annotator.heads.projection(x_held[:, genes])),
    )
    on_all, raw, pca = (float(np.mean(predicted == label[held])) for predicted in predictions)
    return on_all, raw, pca
