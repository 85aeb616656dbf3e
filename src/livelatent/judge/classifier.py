"""Names for cells: the annotator's label, its runner-up, and "unassigned" where the cell fits nothing known."""

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from livelatent.arrays import Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.judge.annotator import load_annotator
from livelatent.judge.flags import find_novel
from livelatent.judge.label_tree import LabelTree
from livelatent.judge.logistic import log_softmax
from livelatent.judge.naming import SLAB_CELLS, Annotator, named
from livelatent.judge.novelty.target import check_target
from livelatent.judge.own_classifier import check_classifier, own_logits
from livelatent.models.given import check_atlas, check_model
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["UNASSIGNED", "NewStudyWarning", "annotate"]

UNASSIGNED = "unassigned"
# Measured before this project, on cells of studies that took no part.
STUDY_ERROR = 0.13


class NewStudyWarning(UserWarning):
    """No batch of the query took part in training: probabilities and false-alarm rates were not tried on such."""


def annotate(
    model: Model,
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    target_fpr: float | None = 0.05,
    tree: LabelTree | Mapping[str, str] | None = None,
    threshold: float = 0.5,
    method: Literal["stack", "head"] = "stack",
) -> pd.DataFrame:
    """Name each cell's most likely type.

    Parameters
    ----------
    rows
        Store rows or a mask; None means every cell, also those that QC masks.
    target_fpr
        The share of known cells that may be called unassigned by mistake, in (0, 0.25]; None: no cell is scored.
    tree
        Each label's parent (and each parent's), to roll labels up by.
    threshold
        The probability that a node of the tree must reach.
    method
        `"stack"`: three regressions, pooled. `"head"`: the model's own two-layer classifier on its latent
        (Andrekson 2024, section 2.6).

    Returns
    -------
    A row per cell in ascending order of store rows, its name in the index, with columns `label`, `probability` and
    `runner_up` (the second most likely type; None where the model knows one type only). With `target_fpr` also
    `novelty_p` (conformal, see `find_novel`; NaN in the model's own atlas for cells that training has seen, and for
    those that QC masks) and `assigned`: the label, or "unassigned" where `novelty_p` is at most the target. With
    `tree` also `node` (the deepest whose probability reaches the threshold; None where none does) and
    `node_probability`. `table.attrs["notes"]` holds what a reader should know, the mixture of the heads first.

    Raises
    ------
    ValueError
        If `target_fpr` or `threshold` is no such share, or `method` none of the two.
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas; fewer are read as 0.
    LabelError
        If the tree goes in a circle, or names none of the labels.
    ModelError
        If nothing fitted is kept with the model, and the atlas that it was trained on is gone; or if the model has no
        classifier and `"head"` is asked for.

    Warns
    -----
    NewStudyWarning
        If the cells name batches and none of these took part in training.

    Notes
    -----
    How the annotator is made: see `fit_annotator`, which the command `train` calls, and this at first use where nothing
    is kept. Where `fit_reference` alone was called, its regressions and quick weights answer (`load_annotator`).
    """
    check_model(model, "annotate")
    check_atlas(atlas, "annotate")
    if method not in ("stack", "head"):
        raise ValueError(f"method is 'stack' or 'head'; got {method!r}.")
    if target_fpr is not None:
        check_target(target_fpr)
    tree = tree if tree is None or isinstance(tree, LabelTree) else LabelTree(tree)
    if method == "head":
        check_classifier(model)  # not after an annotator was fitted
    annotator = load_annotator(model)
    chosen = rows_or_all(rows, atlas.n_cells)
    if method == "head":
        log_proba, names = log_softmax(own_logits(model, embed(model, atlas, chosen))), model.label_names
        notes = ["Named by the model's own classifier, two layers on its latent."]
    else:
        log_proba, names = annotator.log_proba(model, atlas, chosen, slab_cells=SLAB_CELLS), annotator.label_names
        notes = [repr(annotator)]
    table = named(log_proba, names, atlas.obs.index[chosen])
    if target_fpr is not None:
        p_value, calibration = novelty_of(model, annotator, atlas, chosen, target_fpr)
        table["novelty_p"] = p_value
        table["assigned"] = table["label"].where(~(p_value <= target_fpr), UNASSIGNED)
        if calibration:
            notes.append(f"Unassigned at {target_fpr:.1%} false alarms, calibrated on {calibration}.")
        if UNASSIGNED in names:
            notes.append(
                f'The model knows a type called "{UNASSIGNED}": in the column `assigned` it looks like cells that fit '
                f'nothing. If it is no type, ingest with `unlabelled=["{UNASSIGNED}"]` and train again.'
            )
    if tree is not None:
        table["node"], table["node_probability"] = tree.roll_up(np.exp(log_proba), names, threshold)
    n_missing = annotator.n_raw_missing(atlas)
    if n_missing and method == "stack":
        notes.append(
            f"{n_missing:,} of the {len(annotator.heads.genes):,} genes that the regression on genes reads are missing "
            "here and read as 0" + ("; it is left out." if 2 * n_missing > len(annotator.heads.genes) else ".")
        )
    new = annotator.new_batches(atlas, chosen)
    if str(atlas.uuid) != annotator.atlas_uuid and new and len(new) == len(np.unique(atlas.batch[chosen])):
        text = (
            f"None of the query's batches ({', '.join(new[:3])}{', ...' if len(new) > 3 else ''}) took part in "
            "training. New donors of a known study are named about as well as held-back ones; on a new study the "
            f"calibration error was up to {STUDY_ERROR} and false alarms of novelty more than twice those asked for. "
            "Check some labels by their marker genes."
        )
        notes.append(text)
        warnings.warn(text, NewStudyWarning, stacklevel=2)
    table.attrs["notes"] = tuple(notes)
    return table


def novelty_of(model: Model, annotator: Annotator, atlas: Atlas, rows: Rows, target_fpr: float) -> tuple[ndarray, str]:
    """Each cell's conformal p-value, NaN where it can have none, and what it was calibrated on."""
    scored = np.intersect1d(rows, atlas.rows())
    if str(atlas.uuid) == annotator.atlas_uuid:
        scored = np.intersect1d(scored, np.union1d(atlas.rows(labelled=False), atlas.rows("validation")))
    p_value = np.full(len(rows), np.nan)
    if not scored.size:
        return p_value, ""
    novelty = find_novel(model, atlas, rows=scored, target_fpr=target_fpr)
    p_value[np.searchsorted(rows, novelty.rows)] = novelty.p_value
    return p_value, novelty.calibration
