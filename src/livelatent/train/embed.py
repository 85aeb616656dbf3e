"""Latents of an atlas's cells."""

import dataclasses

import numpy as np
import torch

from livelatent.arrays import Float, Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.models.model import Model
from livelatent.models.weights import copy_to
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from livelatent.train.devices import device_of, resolve_device


def embed(
    model: Model,
    atlas: Atlas,
    rows: Rows | None = None,
    device: str | torch.device = "auto",
    *,
    stream: StreamConfig | None = None,
) -> Float[ndarray, "cell latent"]:
    """Latent of each of `rows`, in ascending order of rows, as float32; the model is left as it was.

    Parameters
    ----------
    rows
        Store rows or a mask; None means every cell.

    Raises
    ------
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas; fewer come as 0.
    """
    chosen = rows_or_all(rows, atlas.n_cells)
    on = resolve_device(device)
    config = dataclasses.replace(StreamConfig() if stream is None else stream, shuffle=False)
    # A model in training, or on another device, belongs to somebody: a copy does the work.
    if model.training or any(module.training for module in model.modules()) or device_of(model) != on:
        model = copy_to(model, on)
    parts = [np.empty((0, model.config.n_latent), np.float32)]
    with (
        Stream(atlas, chosen, config, genes=model.genes, mean_total=model.mean_total, device=on) as source,
        torch.inference_mode(),
    ):
        for minibatch in source.minibatches(epoch=0):
            parts.append(model.embed(minibatch).float().cpu().numpy())
    return np.concatenate(parts)
