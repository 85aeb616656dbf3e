"""What `judge` learns from the training atlas, once: all that naming and novelty need afterwards."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from livelatent import atomic
from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LivelatentError, ModelError
from livelatent.judge import keep
from livelatent.judge.batches import batches_of
from livelatent.judge.expression_fit import Expression, expression_key, fit_expression
from livelatent.judge.inspection_fit import Inspection, fit_inspection
from livelatent.judge.known_cells import KnownCells
from livelatent.judge.latent_fit import Latent, fit_latent
from livelatent.judge.model_atlas import model_atlas
from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.methods import SCORES, ScoreName
from livelatent.judge.prototypes import Prototypes
from livelatent.models.given import check_atlas, check_model
from livelatent.models.model import Model
from livelatent.threads import one_thread

__all__ = ["Reference", "fit_reference", "kept_reference", "load_reference"]


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
    inspection: Inspection | None = None
    """None in what earlier versions kept, where the atlas is gone."""

    @property
    def prototypes(self) -> Prototypes:
        """One centroid, median, medoid and radius for each type, in the model's latent space."""
        return self.latent.prototypes

    @property
    def known_cells(self) -> KnownCells:
        """What a flag's cells are held against."""
        return KnownCells(
            label_names=self.label_names,
            genes=self.expression.genes,
            sums=self.expression.sums,
            measures=None if self.inspection is None else self.inspection.measures,
            doublets=None if self.inspection is None else self.inspection.doublets,
        )

    @property
    def inspected(self) -> Inspection:
        """The inspection, or what to do where there is none.

        Raises
        ------
        ModelError
            If an earlier version fitted this reference.
        """
        if self.inspection is None:
            raise ModelError(
                "The model's reference was fitted by an earlier version, which kept no neighbours in principal "
                "components. Fit it again with `fit_reference(model, atlas)`, where the atlas is the one it was "
                "trained on."
            )
        return self.inspection

    def scores(
        self,
        latent: Float[ndarray, "cell latent"],
        pcs: Float[ndarray, "cell component"],
        names: Sequence[ScoreName] = SCORES["combined"],
    ) -> Float[ndarray, "score cell"]:
        """Novelty scores (docs/methods.md), larger is stranger; `latent` is read by score `knn` alone."""
        predicted = self.expression.lr_pca.predict(pcs)
        scorers: dict[ScoreName, Callable[[], Float[ndarray, " cell"]]] = {
            "knn": lambda: self.latent.knn.score(latent, predicted),
            "mahalanobis": lambda: self.expression.mahalanobis.score(pcs),
            "synthetic": lambda: self.expression.synthetic.score(pcs),
            "knn_pcs": lambda: self.inspected.knn.score(pcs, predicted),
        }
        return np.array([scorers[name]() for name in names], np.float64).reshape(len(names), len(pcs))

    def _calibration_scores(self, names: Sequence[ScoreName], *, without_own_batch: bool) -> ndarray:
        """What `scores` gave the calibration cells, from all of the reference or from other batches only."""
        expression, latent = self.expression, self.latent
        pc_scores = expression.fold_scores if without_own_batch else expression.scores
        rows: list[ndarray] = []
        for name in names:
            if name == "knn":
                rows.append(latent.fold_scores if without_own_batch else latent.scores)
            elif name == "knn_pcs":
                rows.append(self.inspected.knn_fold_scores if without_own_batch else self.inspected.knn_scores)
            else:
                rows.append(pc_scores[("mahalanobis", "synthetic").index(name)])
        return np.array(rows, np.float64).reshape(len(rows), len(expression.calibration))

    def new_batches(self, batch_names: tuple[str, ...]) -> tuple[str, ...]:
        """Those that the model was not trained on."""
        return tuple(name for name in batch_names if name not in self.batch_names)

    def calibration_for(
        self, batch_names: tuple[str, ...], *, is_own: bool, names: Sequence[ScoreName] = SCORES["combined"]
    ) -> tuple[Conformal, Int[ndarray, " calibration"], str]:
        """The calibration that fits a query of these batches, which of the calibration cells it is of, and its name.

        Notes
        -----
        Where a batch of the query is new to the model, random calibration cells look more familiar than
        any cell of it could, and false alarms ran to 11 % for 5 % asked. Held-back batches mend the reference's part
        of that, not the encoder's, which has still seen their training cells: retraining it for each batch is left
        to those who can wait.
        """
        everything = self._calibration_scores(names, without_own_batch=False)
        cells = np.arange(everything.shape[1])
        new = self.new_batches(batch_names)
        is_known = not new if batch_names else is_own
        n = f"{len(cells):,} calibration cells"
        if self.calibration_is_new_batches:
            return Conformal(everything), cells, f"{n} of batches that the model was not trained on"
        if is_known:
            return Conformal(everything), cells, f"{n} drawn at random, of the batches that the model was trained on"
        held = np.flatnonzero(self.expression.fold >= 0)
        if held.size:
            out = self._calibration_scores(names, without_own_batch=True)[:, held]
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
_FITTED: "WeakKeyDictionary[Atlas, tuple[Expression, Inspection]]" = WeakKeyDictionary()
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
    What is fitted stands in docs/methods.md, "New cells"; the query-aware score is the query's (`find_novel`).
    Regressions, networks and neighbours are fitted in memory on at most 50,000 cells: types keep their shares, rare
    ones stay whole. The PCA is of all labelled training cells.
    """
    check_model(model, "fit_reference")
    check_atlas(atlas, "fit_reference")
    with _FITTING, one_thread():
        sha256, key = model.sha256(), expression_key(model, atlas, seed)
        kept = None if force else _kept(model)
        fits = kept is not None and kept.latent.model_sha256 == sha256 and kept.expression.key == key
        if kept is not None and fits and kept.inspection is not None:
            return kept
        found = None if force else _FITTED.get(atlas)
        parts = [kept.expression, kept.inspection] if kept is not None else []
        parts += [] if found is None else [*found]
        fitting = [part for part in parts if part is not None and part.key == key]
        expression = next((part for part in fitting if isinstance(part, Expression)), None)
        expression = expression or fit_expression(model, atlas, key, seed)
        inspection = next((part for part in fitting if isinstance(part, Inspection)), None)
        inspection = inspection or fit_inspection(model, atlas, expression, seed)
        train = atlas.rows("train", labelled=True)
        reference = Reference(
            atlas_uuid=str(atlas.uuid),
            label_names=tuple(atlas.label_names),
            batch_names=batches_of(atlas, train),
            calibration_is_new_batches=not np.isin(atlas.batch[expression.calibration], atlas.batch[train]).any(),
            expression=expression,
            latent=kept.latent if kept is not None and fits else fit_latent(model, atlas, expression, sha256, seed),
            inspection=inspection,
        )
        _FITTED[atlas] = (expression, inspection)
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
            return kept if kept.inspection is not None else _completed(model, kept)
        trouble = "what is kept belongs to other weights of this model"
    atlas = model_atlas(
        model,
        f"The model's reference (prototypes, novelty scores, calibration) is wanted, and {trouble}. It can't be fitted "
        "again",
        "Call `fit_reference(model, atlas)` with the atlas that it was trained on, then save the model.",
    )
    return fit_reference(model, atlas)


def _completed(model: Model, kept: Reference) -> Reference:
    """What an earlier version kept, with what it lacks where the atlas can be read."""
    try:
        return fit_reference(model, Atlas.open(model.atlas_path)) if model.atlas_path else kept
    except (LivelatentError, OSError):
        return kept


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


def kept_reference(model: Model) -> Reference | None:
    """What memory or the model's folder holds for these very weights; nothing is fitted."""
    found = _kept(model)
    return found if found is not None and found.latent.model_sha256 == model.sha256() else None
