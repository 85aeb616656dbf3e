"""What each head says of cells that neither it nor its encoder has seen: what the annotator's weights are fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.batches import packed
from livelatent.judge.expression import stratified_rows
from livelatent.judge.heads import HEADS, fit_heads, fit_latents
from livelatent.judge.latent_fit import stretched
from livelatent.judge.training import train_latent
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["HeldBack", "how_folded", "inner_folds", "score_held_back", "stratified_folds", "untrained"]

N_INNER_FOLDS = 2
# Fewer batches than this can't be held back: one fold's rest would know none but the other's.
MIN_BATCHES = 3
# The folds' encoders learn from at most so many cells, for at most so many epochs: three numbers come of it.
INNER_CELLS = 20_000
INNER_EPOCHS = 20
# scikit-learn's C among which that of the regression on the latent is chosen. An encoder draws the cells that it learns
# from together by type, so a regression on their latents is surer of itself than new cells bear out.
LATENT_PENALTIES = (1.0, 0.1, 0.01)

Progress = Callable[[str, float], None]
HeldBy = Literal["batches", "types", "calibration"]


@dataclass(frozen=True)
class HeldBack:
    """Log probabilities of cells held back, whose types the rest had."""

    log_proba: Float[ndarray, "head cell label"]
    label: Int[ndarray, " cell"]
    fold: Int[ndarray, " cell"]
    by: HeldBy
    """Whole batches, folds stratified by type, or the cells of the calibration and validation splits."""
    latent_penalty: float = 1.0
    """The C of `lr_latent` under which these cells' labels are most likely."""
    ridge_cells: float = 1.0
    """What `fit_pool` weighs these cells' likelihood against: a batch's cells where batches were held back."""


def stratified_folds(label: Int[ndarray, " cell"], n_folds: int, *, seed: int = 0) -> Int[ndarray, " cell"]:
    """The fold of each cell: in every type, and in all, folds differ by at most one cell."""
    rng = np.random.default_rng(seed)
    by_type = np.lexsort((rng.random(len(label)), label))
    fold = np.empty(len(label), np.int64)
    fold[by_type] = np.arange(len(label)) % n_folds
    return fold


def inner_folds(
    label: Int[ndarray, " cell"], batch: Int[ndarray, " cell"], *, seed: int = 0
) -> tuple[Int[ndarray, " cell"], HeldBy]:
    """Two folds of whole batches, as equal in cells as batches allow; stratified by type below three batches."""
    if len(np.unique(batch[batch >= 0])) < MIN_BATCHES:
        return stratified_folds(label, N_INNER_FOLDS, seed=seed), "types"
    fold_of_batch = packed(np.bincount(batch[batch >= 0]), N_INNER_FOLDS)
    # The last answers a cell of no batch, which stays in the first fold.
    return np.append(fold_of_batch, 0)[batch], "batches"


def how_folded(by: str) -> str:
    """In words, for a user."""
    return {
        "batches": "cells held back with their whole batch, in two folds",
        "types": "cells held back in two folds stratified by type, as there are fewer than three batches",
        "calibration": "cells of the calibration and validation splits, drawn at random from the training batches",
    }[by]


def untrained(model: Model) -> Model:
    """A model of the same genes and settings, as before training; buffers (class counts, reference distances) kept."""
    twin: Model = type(model)(model.config)
    buffers = dict(model.named_buffers())
    twin.load_state_dict({**twin.state_dict(), **{name: value.detach().cpu() for name, value in buffers.items()}})
    return twin


def score_held_back(
    model: Model,
    atlas: Atlas,
    rows: Rows,
    genes: Int[ndarray, " gene"],
    *,
    retrain: bool,
    max_cells: int = INNER_CELLS,
    max_epochs: int = INNER_EPOCHS,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> HeldBack:
    """Fit all heads without some cells, and ask them of those; that on the latent with the penalty that suits it best.

    Parameters
    ----------
    rows
        Labelled cells that may be used.
    genes
        Of raw logistic regression, as places in the atlas.
    retrain
        Train an encoder for each of two folds. Otherwise the model itself is asked of the calibration and
        validation cells, which it has not learnt from, and heads are fitted on its training cells.

    Notes
    -----
    The folds' encoders have the model's genes, chosen without labels, and its buffers: for CELLULAR the reference
    distances between types, which held-back cells took part in.
    """
    label, batch = np.asarray(atlas.label, np.int64), np.asarray(atlas.batch, np.int64)
    by: HeldBy = "calibration"
    if retrain:
        rows = rows[stratified_rows(label[rows], max_cells, seed=seed)]
        fold, by = inner_folds(label[rows], batch[rows], seed=seed)
        folds = [(rows[fold != number], rows[fold == number]) for number in range(N_INNER_FOLDS)]
    else:
        is_seen = atlas.split[rows] == "train"
        unseen = rows[~is_seen]
        folds = [(rows[is_seen], unseen[stratified_rows(label[unseen], max_cells, seed=seed)])]
    parts: list[ndarray] = [np.empty((len(HEADS), 0, len(atlas.label_names)))]
    on_latent: list[ndarray] = [np.empty((len(LATENT_PENALTIES), 0, len(atlas.label_names)))]
    cells, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, (rest, out) in enumerate(folds):

        def told(what: str, share: float, number: int = number) -> None:
            if progress is not None:
                progress(what, (number + share) / len(folds))

        def trains(share: float, told: Progress = told) -> None:
            told("encoder without held-back cells", 0.8 * share)

        # A type that the rest lacks can't be learnt there, and says nothing of the heads.
        out = out[np.isin(label[out], label[rest])]
        if not _can_learn(label[rest], atlas.split[rest]) or not len(out):
            continue
        encoder = model
        if retrain:
            encoder = untrained(model)
            train_latent(encoder, atlas, rest, max_epochs=max_epochs, device=device, progress=trains)
        told("regressions without held-back cells", 0.8)
        each = fit_latents(encoder, atlas, rest, LATENT_PENALTIES, seed=seed, device=device)
        heads = fit_heads(encoder, atlas, rest, genes=genes, lr_latent=each[0], seed=seed, device=device)
        parts.append(heads.log_proba(encoder, atlas, out, device))
        latent = stretched(embed(encoder, atlas, out, device))
        on_latent.append(np.stack([head.log_proba(latent) for head in each]))
        cells.append(label[out])
        numbers.append(np.full(len(out), number))
    log_proba, found, by_penalty = (
        np.concatenate(parts, axis=1),
        np.concatenate(cells),
        np.concatenate(on_latent, axis=1),
    )
    best = most_likely(by_penalty, found)
    log_proba[HEADS.index("lr_latent")] = by_penalty[best]
    n_held = len(np.unique(batch[rows])) if by == "batches" else max(len(found), 1)
    return HeldBack(
        log_proba,
        found,
        np.concatenate(numbers),
        by,
        latent_penalty=LATENT_PENALTIES[best],
        ridge_cells=max(len(found) / n_held, 1.0),
    )


def most_likely(log_proba: Float[ndarray, "penalty cell label"], label: Int[ndarray, " cell"]) -> int:
    """The penalty under which the labels are most likely; the first where nothing tells them apart."""
    return int(log_proba[:, np.arange(len(label)), label].sum(axis=1).argmax())


def _can_learn(label: Int[ndarray, " cell"], split: ndarray) -> bool:
    """Whether an encoder and a regression find two types among these cells."""
    return len(np.unique(label[split == "train"])) >= 2
