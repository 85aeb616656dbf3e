"""How well the annotator names cells, with both logistic regressions beside it: never one without the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.judge.expression import gene_indices, log_genes, stratified_rows
from livelatent.judge.latent_fit import stretched
from livelatent.judge.logistic import fit_logistic
from livelatent.judge.projection import Projection
from livelatent.judge.stack import fit_pool, pool
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Scorecard", "five_fold", "stratified_folds"]

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
    the validation split, its weights come from those of both other splits, and its regressions are then fitted again
    on all of them.
    """
    from livelatent.train.devices import cpu_threads
    from livelatent.train.loop import default_stream, stage_rows, train
    from livelatent.train.state import TrainState

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
        state = TrainState.start(model, epochs)
        n_epochs = sum(stage.epochs for stage in state.stages if stage.moves_latent)
        stream = default_stream(len(stage_rows(model, atlas, state.stages[0], "train", training)))
        with cpu_threads(model, stream.minibatch_cells):
            for step in train(model, atlas, stream, rows=training, device=device, state=state):
                # The annotator reads the latent: a stage that only adds a head to it is not needed.
                if state.stage is None or not any(stage.moves_latent for stage in state.stages[state.stage_index :]):
                    break
                if progress is not None:
                    progress((fold + 0.9 * min(step.epoch / n_epochs, 1.0)) / N_FOLDS)
        model.eval()
        with one_thread():
            scores.append(_fold_scores(model, atlas, training, held, device))
        if progress is not None:
            progress((fold + 1) / N_FOLDS)
    return Scorecard(
        folds=pd.DataFrame(scores, columns=list(ROWS)),
        n_cells=len(rows),
        n_left_out=int((label >= 0).sum()) - len(rows),
    )


def stratified_folds(label: Int[ndarray, " cell"], n_folds: int, *, seed: int = 0) -> Int[ndarray, " cell"]:
    """The fold of each cell: in every type, and in all, folds differ by at most one cell."""
    rng = np.random.default_rng(seed)
    by_type = np.lexsort((rng.random(len(label)), label))
    fold = np.empty(len(label), np.int64)
    fold[by_type] = np.arange(len(label)) % n_folds
    return fold


def _fold_scores(
    model: Model, atlas: Atlas, training: Rows, held: Int[ndarray, " held"], device: str
) -> tuple[float, float, float]:
    """Accuracy on the held cells of what is fitted on the training cells."""
    from livelatent.train.embed import embed

    label, n_labels = np.asarray(atlas.label, np.int64), len(atlas.label_names)
    every_gene, genes = np.arange(atlas.n_genes), gene_indices(atlas, model.genes)
    mean_total = float(model.mean_total)
    projection = Projection.fit(atlas, genes, training, mean_total)

    def heads(rows: Rows) -> tuple[object, ...]:
        x = log_genes(atlas, rows, every_gene, mean_total)
        chosen = x[:, genes]
        return x, chosen, projection(chosen), stretched(embed(model, atlas, rows, device))

    x, chosen, pcs, latent = heads(training)
    # Where no encoder has seen the cells, their latents say what the latent is worth.
    unseen = atlas.split[training] != "train"
    log_proba = [
        fit_logistic(part[~unseen], label[training][~unseen], n_labels).log_proba(part[unseen])  # type: ignore[index]
        for part in (chosen, pcs, latent)
    ]
    weights = fit_pool(np.stack(log_proba), label[training][unseen])
    x_held, chosen_held, pcs_held, latent_held = heads(held)
    lr_pca = fit_logistic(pcs, label[training], n_labels)
    pooled = pool(
        np.stack(
            [
                fit_logistic(chosen, label[training], n_labels).log_proba(chosen_held),
                lr_pca.log_proba(pcs_held),
                fit_logistic(latent, label[training], n_labels).log_proba(latent_held),
            ]
        ),
        weights,
    )
    predictions = (
        np.argmax(pooled, axis=1),
        fit_logistic(x, label[training], n_labels).predict(x_held),
        lr_pca.predict(pcs_held),
    )
    annotator, raw, pca = (float(np.mean(predicted == label[held])) for predicted in predictions)
    return annotator, raw, pca
