"""Recipe B, fitted: three regressions, the weights that pool them, and how far their probabilities can be trusted."""

import threading
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from livelatent import atomic
from livelatent.arrays import Float, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError, LivelatentError, ModelError
from livelatent.judge import keep
from livelatent.judge.calibration import Reliability, reliability
from livelatent.judge.heads import HEADS, Heads, fit_heads, raw_genes
from livelatent.judge.held_back import HeldBack, Progress, how_folded, score_held_back
from livelatent.judge.latent_fit import stretched
from livelatent.judge.reference import Reference, kept_reference
from livelatent.judge.stack import fit_pool, pool
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Annotator", "fit_annotator", "label_cells", "load_annotator", "named", "quick_annotator"]

SLAB_CELLS = 16_384
TITLES = {"lr_raw": "regression on genes", "lr_pca": "on components", "lr_latent": "on the latent"}
# Measured before this project (EVIDENCE.md, recipe B), on cells of studies that took no part.
STUDY_ERROR = 0.13


@dataclass(frozen=True)
class Annotator:
    """What names cells by a model; kept in `model.folder/annotator`."""

    model_sha256: str
    atlas_uuid: str
    label_names: tuple[str, ...]
    batch_names: tuple[str, ...]
    """Batches with a labelled cell that it has learnt from."""
    heads: Heads
    weights: Float[ndarray, " head"]
    """Of the log probabilities of `lr_raw`, `lr_pca` and `lr_latent`; their sum is an inverse temperature."""
    weights_from: str
    """The cells that the weights were fitted on, in words."""
    reliability: Reliability | None
    """Of cells that the annotator had not seen, in folds; None where there were none."""

    def log_proba(
        self, model: Model, atlas: Atlas, rows: Rows, device: str = "auto", *, slab_cells: int = SLAB_CELLS
    ) -> Float[ndarray, "cell label"]:
        """Pooled log probabilities of each of `label_names`.

        Raises
        ------
        GeneMismatchError
            If more than half of the model's genes are missing from the atlas; fewer are read as 0.

        Notes
        -----
        Where more than half of the genes of `lr_raw` are missing (a query of highly variable genes only), that head
        is left out and the others' weights are raised to the same sum.
        """
        weights = self.weights
        if self.n_raw_missing(atlas) * 2 > len(self.heads.genes):
            others = np.where(np.array(HEADS) == "lr_raw", 0.0, np.maximum(weights, 1e-3))
            weights = others * (weights.sum() / others.sum())
        slabs = [
            pool(self.heads.log_proba(model, atlas, rows[start : start + slab_cells], device), weights)
            for start in range(0, len(rows), slab_cells)
        ]
        return np.concatenate(slabs) if slabs else np.empty((0, len(self.label_names)))

    def n_raw_missing(self, atlas: Atlas) -> int:
        """Genes of `lr_raw` that an atlas lacks."""
        return int((self.heads.raw_places(atlas) < 0).sum())

    def new_batches(self, atlas: Atlas, rows: Rows) -> tuple[str, ...]:
        """Batches of these cells that it has learnt nothing from."""
        codes = np.unique(atlas.batch[rows])
        names = [atlas.batch_names[code] for code in codes if 0 <= code < len(atlas.batch_names)]
        return tuple(name for name in names if name not in self.batch_names)

    def __repr__(self) -> str:
        mixture = " + ".join(f"{w:.2f} x {TITLES[name]}" for name, w in zip(HEADS, self.weights, strict=True))
        error = "not known" if self.reliability is None else f"{self.reliability.error:.3f}"
        return (
            f"Annotator({len(self.label_names)} labels; log probability = {mixture}; weights from {self.weights_from}; "
            f"expected calibration error {error})"
        )


def label_cells(annotator: Annotator, model: Model, atlas: Atlas, rows: Rows) -> pd.DataFrame:
    """Label, probability and runner-up of each of these sorted rows."""
    return named(annotator.log_proba(model, atlas, rows), annotator.label_names, atlas.obs.index[rows])


def named(log_proba: Float[ndarray, "cell label"], label_names: tuple[str, ...], index: pd.Index) -> pd.DataFrame:
    """Label, probability and runner-up of each cell; no runner-up where there is one label only."""
    names = np.array([*label_names, None], dtype=object)
    order = np.argsort(-log_proba, axis=1, kind="stable")
    best, second = order[:, 0], order[:, 1] if order.shape[1] > 1 else np.full(len(order), -1)
    return pd.DataFrame(
        {
            "label": names[best],
            "probability": np.exp(log_proba[np.arange(len(best)), best]),
            "runner_up": names[second],
        },
        index=index,
    )


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
    """Fit what names cells: recipe B of EVIDENCE.md.

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
        codes = np.unique(atlas.batch[rows])
        annotator = Annotator(
            model_sha256=model.sha256(),
            atlas_uuid=str(atlas.uuid),
            label_names=tuple(atlas.label_names),
            batch_names=tuple(atlas.batch_names[code] for code in codes if 0 <= code < len(atlas.batch_names)),
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
        try:
            if not model.atlas_path:
                raise ModelError("the model names no atlas")
            atlas = Atlas.open(model.atlas_path)
        except (LivelatentError, OSError) as error:
            raise ModelError(
                f"The model's annotator is wanted, and {trouble}. It can't be fitted again, because its atlas can't be "
                f"opened ({error}). Call `fit_annotator(model, atlas)` with the atlas that it was trained on, then "
                "save the model."
            ) from error
        return fit_annotator(model, atlas, progress=progress)
