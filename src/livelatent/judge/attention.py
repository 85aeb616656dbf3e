"""What the class token attends to, by cell type (section 2.3.5 of Andrekson 2024)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from livelatent.arrays import Float, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError, ModelError
from livelatent.models.cellular import Cellular
from livelatent.models.encoder import towers_of
from livelatent.models.model import codes_in
from livelatent.models.transformer import weights_of
from livelatent.models.weights import copy_to
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from livelatent.train.devices import resolve_device

__all__ = ["attention_by_type", "class_row"]

QUERY_BYTES = 64_000_000
"""Attention weights in memory at once: the read-out goes through a layer's queries in blocks of this size."""


def class_row(layers: Sequence[tuple[Tensor, Tensor]]) -> Float[Tensor, "cell token"]:
    r"""What reaches the class token from each other token, through all layers.

    Parameters
    ----------
    layers
        Queries and keys of each layer, [cell, head, token, dim], from the first layer to the last; token 0 is the
        class token.

    Returns
    -------
    One weight per cell and token, the class token left out; with its own they would sum to 1.

    Notes
    -----
    Section 2.3.5 of Andrekson (2024): the mean A over heads, plus the identity, rows divided by their sums (which are
    2: those of A are 1), the layers' matrices multiplied, the class token's row. Only that row goes through the
    product, :math:`e^T \tilde A_L \cdots \tilde A_1` from the left, so a layer costs a product of a row with a matrix
    and no matrix is whole in memory; the products of matrices would cost n times as much for n tokens.
    """
    n_cells, n_heads, n_tokens, _ = layers[0][0].shape
    row = layers[0][0].new_zeros(n_cells, n_tokens)
    row[:, 0] = 1
    block = max(1, QUERY_BYTES // (n_cells * n_heads * n_tokens * row.element_size()))
    for number, (q, k) in enumerate(reversed(layers)):
        # In the last layer only the class token's query counts.
        last = 1 if number == 0 else n_tokens
        attended = torch.zeros_like(row)
        for start in range(0, last, block):
            stop = min(start + block, last)
            attended += torch.einsum("cq,chqt->ct", row[:, start:stop], weights_of(q[:, :, start:stop], k)) / n_heads
        row = (attended + row) / 2
    return row[:, 1:]


def attention_by_type(
    model: Cellular,
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    cells_per_type: int | None = 200,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> dict[str, pd.DataFrame]:
    """Mean attention of each cell type's cells to each gene, and to each gene set.

    Parameters
    ----------
    rows
        Cells to look at, of which those with a label that the model knows are used; None means all that QC keeps.
    cells_per_type
        At most as many cells of a type, drawn by `seed`; None means all.

    Returns
    -------
    "genes" and, of Model 3, "sets": a table with a row per type that has a cell and a column per gene or set.
    Attention says what a network reads, not what matters for a type: see `attention_stability`.

    Raises
    ------
    ModelError
        If the model has no transformer.
    LabelError
        If no cell has a label that the model knows.
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas.
    """
    if not towers_of(model.encoder):
        raise ModelError(
            "Model 1 has no attention to read. Train a model with `Cellular(atlas, encoder='genes')` or 'genes+sets'."
        )
    codes = codes_in(atlas.label_names, model.label_names)
    label = np.full(atlas.n_cells, -1, np.int64)
    used = atlas.rows() if rows is None else as_rows(rows, atlas.n_cells)
    label[used] = codes[np.asarray(atlas.label)[used]]
    if not (label >= 0).any():
        raise LabelError(f"{atlas.path}: no cell has a label that the model knows, so there is no type to read out.")
    chosen = np.flatnonzero(label >= 0) if cells_per_type is None else _some_of_each(label, cells_per_type, seed)
    on = resolve_device(device)
    reader = copy_to(model, on)
    assert isinstance(reader, Cellular)
    names = {"genes": list(model.config.genes), "sets": list(model.config.set_names)}
    sums = {kind: np.zeros((len(model.label_names), len(names[kind]))) for kind in towers_of(reader.encoder)}
    config = StreamConfig(minibatch_cells=256, shuffle=False)
    with Stream(atlas, chosen, config, genes=model.genes, mean_total=model.mean_total, device=on) as source:
        for minibatch in source.minibatches(epoch=0):
            own = label[minibatch.cell.cpu().numpy()]
            for kind, weight in _read(reader, minibatch.x).items():
                np.add.at(sums[kind], own, weight)
    n_cells = np.bincount(label[chosen], minlength=len(model.label_names))
    there = np.flatnonzero(n_cells)
    types = pd.Index([model.label_names[code] for code in there], name="label", dtype=object)
    return {
        kind: pd.DataFrame(
            total[there] / n_cells[there, None], index=types, columns=pd.Index(names[kind], dtype=object)
        )
        for kind, total in sums.items()
    }


def _some_of_each(label: np.ndarray, n_cells: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    chosen = []
    for code in np.unique(label[label >= 0]):
        own = np.flatnonzero(label == code)
        chosen.append(rng.choice(own, n_cells, replace=False) if len(own) > n_cells else own)
    return np.sort(np.concatenate(chosen)).astype(np.int64)


@torch.inference_mode()
def _read(model: Cellular, x: Float[Tensor, "cell gene"]) -> dict[str, Float[ndarray, "cell token"]]:
    """Each tower's class row, a few cells at a time."""
    result = {}
    for kind, tower in towers_of(model.encoder).items():
        parts = [
            class_row(tower.transformer.queries_and_keys(tower.all_tokens(part)))
            for part in torch.split(x, tower.chunk_cells)
        ]
        result[kind] = torch.cat(parts).double().cpu().numpy()
    return result
