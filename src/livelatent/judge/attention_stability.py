"""How far attention holds from one seed to the next: Andrekson (2024, 4.3.2) found it partly random."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from livelatent.arrays import Float, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import ModelError
from livelatent.judge.attention import attention_by_type
from livelatent.models.cellular import Cellular

__all__ = ["attention_stability"]

N_TOP = 20


def attention_stability(
    models: Sequence[Cellular],
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    n_top: int = N_TOP,
    cells_per_type: int | None = 200,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """The attention of models that differ in their seed only, with what they agree on beside every value.

    Parameters
    ----------
    models
        Trained with different seeds (three are enough to see chance), on the same genes and gene sets.
    n_top
        How many genes or sets are a type's "top".

    Returns
    -------
    A row for each kind ("genes", "sets"), label and gene or set, by kind and label, the greatest attention first:

    - `attention`: mean over the models; `spread`: their standard deviation (n - 1) over it.
    - `top_share`: share of the models in which it is among the type's top.
    - `rank_correlation`: of the type, Spearman's between two models' attention, mean over pairs of models.
    - `top_overlap`: of the type, genes that two models' tops share over `n_top`, mean over pairs.
    - `chance_overlap`: what `top_overlap` would be for tops drawn at random.

    Raises
    ------
    ValueError
        If there are fewer than two models, or two of the same weights.
    ModelError
        If their genes, gene sets or labels differ, or one has no transformer.

    Notes
    -----
    Document 000 (4.3.2) found attention partly random. A gene whose `top_share` is below 1, or a type whose
    `top_overlap` is near `chance_overlap`, says something of a seed, not of cells.
    """
    if len(models) < 2 or len({model.sha256() for model in models}) < len(models):
        raise ValueError(f"stability is that of at least two models of different seeds; got {len(models)}.")
    first = models[0].config
    for model in models[1:]:
        for name in ("genes", "set_names", "label_names"):
            if getattr(model.config, name) != getattr(first, name):
                raise ModelError(f"the models differ in {name}; train all on the same cells, with another seed only.")
    read = [
        attention_by_type(model, atlas, rows, cells_per_type=cells_per_type, seed=seed, device=device)
        for model in models
    ]
    tables = [
        _agreement(kind, label, np.stack([one[kind].loc[label].to_numpy() for one in read]), table.columns, n_top)
        for kind, table in read[0].items()
        for label in table.index
    ]
    return pd.concat(tables, ignore_index=True)


def _agreement(
    kind: str, label: str, attention: Float[ndarray, "model token"], names: pd.Index, n_top: int
) -> pd.DataFrame:
    n_models, n_tokens = attention.shape
    n_top = min(n_top, n_tokens)
    is_top = np.zeros(attention.shape, bool)
    np.put_along_axis(is_top, np.argsort(-attention, axis=1, kind="stable")[:, :n_top], True, axis=1)
    rank = rankdata(attention, axis=1)
    rank = rank - rank.mean(axis=1, keepdims=True)
    length = np.maximum(np.linalg.norm(rank, axis=1), np.finfo(float).tiny)
    pairs = list(itertools.combinations(range(n_models), 2))
    mean = attention.mean(axis=0)
    table = pd.DataFrame(
        {
            "kind": kind,
            "label": label,
            "name": names,
            "attention": mean,
            "spread": attention.std(axis=0, ddof=1) / np.maximum(mean, np.finfo(float).tiny),
            "top_share": is_top.mean(axis=0),
            "rank_correlation": np.mean([rank[a] @ rank[b] / (length[a] * length[b]) for a, b in pairs]),
            "top_overlap": np.mean([(is_top[a] & is_top[b]).sum() / n_top for a, b in pairs]),
            "chance_overlap": n_top / n_tokens,
        }
    )
    return table.sort_values("attention", ascending=False, kind="stable")
