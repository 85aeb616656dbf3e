"""Fitting, keeping and loading what names cells (docs/methods.md)."""

import threading
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from livelatent import atomic
from livelatent.arrays import Rows, as_rows
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError, ModelError
from livelatent.judge import keep
from livelatent.judge.batches import batches_of
from livelatent.judge.calibration import Reliability, reliability
from livelatent.judge.heads import Heads, fit_heads, raw_genes
from livelatent.judge.held_back import HeldBack, Progress, how_folded, score_held_back
from livelatent.judge.latent_fit import stretched
from livelatent.judge.model_atlas import model_atlas
from livelatent.judge.naming import Annotator, label_cells
from livelatent.judge.reference import Reference, kept_reference
from livelatent.judge.stack import fit_pool, pool
from livelatent.models.given import check_atlas, check_model
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Annotator", "fit_annotator", "label_cells", "load_annotator", "quick_annotator"]

_IN_MEMORY: "WeakKeyDictionary[Model, Annotator]" = WeakKeyDictionary()
_FITTING = threading.RLock()


def fit_annotator(
    model: Model,
    atlas: Atlas,
    *,
    rows: Rows | None = None,
    retrain: bool = True,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Annotator:
    """Fit what names cells: regressions on genes, components and the latent, pooled (docs/methods.md).

    Parameters
    ----------
    atlas
        What the model was trained on.
    rows
        Cells that may be used; None: all that QC keeps. Those with a label are.
    retrain
        Fit the weights on whole batches held back, in two folds (stratified by type below three batches), with an
        encoder trained without each: at most 20 epochs on at most 20,000 cells. False: on the calibration and
        validation cells, as the model has not learnt from them; in seconds, and blind to what a new batch does.
    progress
        Called as `progress(what, share done)`.

    Returns
    -------
    Also kept: in `model.folder/annotator` if the model has a folder, and in memory for as long as the model is.

    Raises
    ------
    LabelError
        If no cell has a label.

    Notes
    -----
    Regressions are fitted with C = 1 on all labelled cells, whatever their split, those on expression at any size. The
    reliability is cross-fitted: each fold's cells are judged by weights from the other's.
    """
    check_model(model, "fit_annotator")
    check_atlas(atlas, "fit_annotator")
    told = progress or (lambda what, share: None)
    rows = atlas.rows() if rows is None else as_rows(rows, atlas.n_cells)
    rows = rows[(np.asarray(atlas.label)[rows] >= 0) & atlas.kept[rows]]
    if not len(rows):
        raise LabelError(
            f"{atlas.path}: an annotator learns from labelled cells, and there are none. Label some, or name the label "
            "column when you ingest."
        )
    with _FITTING, one_thread():
        genes = raw_genes(atlas, rows)
        held = score_held_back(
            model,
            atlas,
            rows,
            genes,
            retrain=retrain,
            seed=seed,
            device=device,
            progress=lambda what, share: told(what, 0.8 * share),
        )
        heads = fit_heads(
            model,
            atlas,
            rows,
            genes=genes,
            seed=seed,
            device=device,
            progress=lambda what, share: told(what, 0.8 + 0.2 * share),
        )
        annotator = Annotator(
            model_sha256=model.sha256(),
            atlas_uuid=str(atlas.uuid),
            label_names=tuple(atlas.label_names),
            batch_names=batches_of(atlas, rows),
            heads=heads,
            weights=fit_pool(held.log_proba, held.label),
            weights_from=f"{len(held.label):,} {how_folded(held.by)}",
            reliability=cross_fitted(held),
        )
        _IN_MEMORY[model] = annotator
        if model.folder is not None:
            with atomic.fresh_folder(Path(model.folder) / "annotator") as folder:
                # Beside what novelty needs, not in it: each is fitted again alone.
                keep.write(folder, "annotator", annotator)
    return annotator


def cross_fitted(held: HeldBack) -> Reliability | None:
    """Reliability of held-back cells under weights that they took no part in; halves of a single fold."""
    if len(held.label) < 2:
        return None
    half = held.fold if len(np.unique(held.fold)) > 1 else np.arange(len(held.label)) % 2
    probability, is_right = np.empty(len(half)), np.empty(len(half), bool)
    for number in np.unique(half):
        out = half == number
        weights = fit_pool(held.log_proba[:, ~out], held.label[~out])
        pooled = pool(held.log_proba[:, out], weights)
        probability[out], is_right[out] = np.exp(pooled.max(axis=1)), pooled.argmax(axis=1) == held.label[out]
    return reliability(np.minimum(probability, 1.0), is_right)


def quick_annotator(model: Model, reference: Reference) -> Annotator:
    """The annotator that a reference holds: regressions on training cells, weights from calibration cells."""
    expression, latent = reference.expression, reference.latent
    on_latent = latent.lr_latent.log_proba(stretched(latent.calibration))
    label = expression.calibration_label
    held = HeldBack(
        np.concatenate([expression.calibration_log_proba, on_latent[None]]), label, np.zeros_like(label), "calibration"
    )
    return Annotator(
        model_sha256=latent.model_sha256,
        atlas_uuid=reference.atlas_uuid,
        label_names=reference.label_names,
        batch_names=reference.batch_names,
        heads=Heads(
            genes=tuple(map(str, model.genes)),
            projection=expression.projection,
            lr_raw=expression.lr_raw,
            lr_pca=expression.lr_pca,
            lr_latent=latent.lr_latent,
        ),
        weights=latent.pool_weights,
        weights_from=f"{len(label):,} {how_folded(held.by)}",
        reliability=cross_fitted(held),
    )


def load_annotator(model: Model, *, progress: Progress | None = None) -> Annotator:
    """What `fit_annotator` kept for these weights, else what `fit_reference` did; else a fit on the model's atlas.

    Raises
    ------
    ModelError
        If nothing kept fits, and the model's atlas is gone.

    Notes
    -----
    A reference that is kept answers, and no encoder is trained behind a user's back: so a view and a notebook that
    have looked for novel cells name cells alike, here and in another process. `fit_annotator` is the better one.
    """
    with _FITTING:
        found, sha256 = _IN_MEMORY.get(model), model.sha256()
        trouble = f"nothing is kept in {model.folder}" if model.folder else "the model was never saved"
        folder = None if model.folder is None else Path(model.folder) / "annotator"
        if (found is None or found.model_sha256 != sha256) and folder is not None and folder.exists():
            try:
                found = keep.read(folder, "annotator", Annotator)
            except ModelError as error:
                trouble = str(error)
        if found is not None and found.model_sha256 == sha256:
            _IN_MEMORY[model] = found
            return found
        reference = kept_reference(model)
        if reference is not None:
            return quick_annotator(model, reference)
        atlas = model_atlas(
            model,
            f"The model's annotator is wanted, and {trouble}. It can't be fitted again",
            "Call `fit_annotator(model, atlas)` with the atlas that it was trained on, then save the model.",
        )
        return fit_annotator(model, atlas, progress=progress)
