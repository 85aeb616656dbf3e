"""Names for cells: three logistic regressions pooled (recipe B)."""

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.judge.expression import gene_indices, log_genes
from livelatent.judge.latent_fit import stretched
from livelatent.judge.reference import Reference, load_reference
from livelatent.judge.stack import pool
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["annotate"]

SLAB_CELLS = 16_384


def annotate(model: Model, atlas: Atlas, rows: Rows | None = None) -> pd.DataFrame:
    """Name each cell's most likely type.

    Parameters
    ----------
    rows
        Store rows or a mask; None means every cell, also those that QC masks.

    Returns
    -------
    A row per cell in ascending order of store rows, its name in the index, with columns `label`, `probability` and
    `runner_up` (the second most likely type; None where the model knows one type only).

    Raises
    ------
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas; fewer are read as 0.
    ModelError
        If nothing fitted is kept with the model, and the atlas that it was trained on is gone.

    Notes
    -----
    Recipe B of EVIDENCE.md: logits are a weighted sum of the log probabilities of logistic regressions on log
    expression of the model's genes (C = 1), on 50 PCs and on the latent. The regressions are scikit-learn's, in
    memory, on at most 50,000 training cells. The weights maximise the log likelihood of the calibration cells, which
    no regression and no encoder has seen. The recipe fits them on whole batches held back; that needs an encoder
    trained without them, once for each.
    """
    reference = load_reference(model)
    chosen = rows_or_all(rows, atlas.n_cells)
    slabs = [
        pooled_log_proba(model, reference, atlas, chosen[start : start + SLAB_CELLS])
        for start in range(0, len(chosen), SLAB_CELLS)
    ]
    names = np.array([*reference.label_names, None], dtype=object)
    log_proba = np.concatenate(slabs) if slabs else np.empty((0, len(names) - 1))
    order = np.argsort(-log_proba, axis=1, kind="stable")
    best, second = order[:, 0], order[:, 1] if order.shape[1] > 1 else np.full(len(order), -1)
    return pd.DataFrame(
        {
            "label": names[best],
            "probability": np.exp(log_proba[np.arange(len(best)), best]),
            "runner_up": names[second],
        },
        index=atlas.obs.index[chosen],
    )


def pooled_log_proba(model: Model, reference: Reference, atlas: Atlas, rows: Rows) -> Float[ndarray, "cell label"]:
    """The annotator's log probabilities of each of the reference's labels."""
    fitted = reference.expression
    x = log_genes(atlas, rows, gene_indices(atlas, model.genes), model.mean_total)
    heads = [
        fitted.lr_raw.log_proba(x),
        fitted.lr_pca.log_proba(fitted.projection(x)),
        reference.latent.lr_latent.log_proba(stretched(embed(model, atlas, rows))),
    ]
    return pool(np.stack(heads), reference.latent.pool_weights)
