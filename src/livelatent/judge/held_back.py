"""What each head says of cells that neither it nor its encoder has seen: what the annotator's weights are fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.batches import packed
from livelatent.judge.expression import stratified_rows
from livelatent.judge.heads import HEADS, fit_heads
from livelatent.judge.training import train_latent
from livelatent.models.model import Model

__all__ = ["HeldBack", "how_folded", "inner_folds", "score_held_back", "stratified_folds", "untrained"]

N_INNER_FOLDS = 2
# Fewer batches than this can't be held back: one fold's rest would know none but the other's.
MIN_BATCHES = 3
# The folds' encoders learn from at most so many cells, for at most so many epochs: three numbers come of it.
INNER_CELLS = 20_000
INNER_EPOCHS = 20

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
    """Fit all heads without some cells, and ask them of those.

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
        heads = fit_heads(encoder, atlas, rest, genes=genes, seed=seed, device=device)
        parts.append(heads.log_proba(encoder, atlas, out, device))
        cells.append(label[out])
        numbers.append(np.full(len(out), number))
    return HeldBack(np.concatenate(parts, axis=1), np.concatenate(cells), np.concatenate(numbers), by)


def _can_learn(label: Int[ndarray, " cell"], split: ndarray) -> bool:
    """Whether an encoder and a regression find two types among these cells."""
    return len(np.unique(label[split == "train"])) >= 2
