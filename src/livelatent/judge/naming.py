"""What names cells: three regressions, the weights that pool them, and how far their probabilities can be trusted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.batches import batches_of
from livelatent.judge.calibration import Reliability
from livelatent.judge.heads import HEADS, Heads
from livelatent.judge.stack import pool
from livelatent.models.model import Model

__all__ = ["Annotator", "label_cells", "named"]

SLAB_CELLS = 16_384
TITLES = {"lr_raw": "regression on genes", "lr_pca": "on components", "lr_latent": "on the latent"}


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
        return tuple(name for name in batches_of(atlas, rows) if name not in self.batch_names)

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
