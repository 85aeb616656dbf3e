"""Latents of an atlas's cells."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from livelatent.arrays import Float, Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.models.given import check_atlas, check_model
from livelatent.models.model import Model
from livelatent.models.weights import copy_to
from livelatent.progress import CellProgress, shown
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from livelatent.train.codes import Codes
from livelatent.train.devices import device_of, resolve_device


def embed(
    model: Model,
    atlas: Atlas,
    rows: Rows | None = None,
    device: str | torch.device = "auto",
    *,
    config: StreamConfig | None = None,
) -> Float[ndarray, "cell latent"]:
    """Latent of each of `rows`, in ascending order of rows, as float32; the model is left as it was.

    Parameters
    ----------
    rows
        Store rows or a mask; None means every cell, also those that QC masks.

    Raises
    ------
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas; fewer come as 0.
    """
    check_model(model, "embed")
    check_atlas(atlas, "embed")
    parts = [np.empty((0, model.config.n_latent), np.float32)]
    parts.extend(latents(model, atlas, rows_or_all(rows, atlas.n_cells), device, config))
    return np.concatenate(parts)


def embed_into(
    model: Model,
    atlas: Atlas,
    name: str = "X_livelatent",
    device: str | torch.device = "auto",
    *,
    config: StreamConfig | None = None,
    progress: CellProgress | bool | None = None,
) -> tuple[int, int]:
    """Write the latent of every cell into the store as `obsm[name]`, never holding more than a few of them.

    Parameters
    ----------
    name
        An earlier one of that name is replaced once the new one is whole.
    progress
        Called as `progress(cells done, all cells, what)`. None: a bar in a terminal or notebook; True: always; False:
        never.

    Returns
    -------
    Cells and dimensions written.

    Raises
    ------
    GeneMismatchError
        If more than half of the model's genes are missing from the atlas; fewer come as 0.
    DiskSpaceError
        If there is no room for it.
    """
    done = 0
    with shown(progress) as report, atlas.obsm_writer(name, model.config.n_latent) as writer:
        for part in latents(model, atlas, rows_or_all(None, atlas.n_cells), device, config):
            writer.append(part)
            done += len(part)
            report(done, atlas.n_cells, "embedding")
    return atlas.n_cells, model.config.n_latent


def latents(
    model: Model, atlas: Atlas, rows: Rows, device: str | torch.device, config: StreamConfig | None
) -> Iterator[Float[ndarray, "cell latent"]]:
    """One minibatch after the other, in ascending order of rows."""
    on = resolve_device(device)
    config = dataclasses.replace(StreamConfig() if config is None else config, shuffle=False, balance=None)
    # A model in training, or on another device, belongs to somebody: a copy does the work.
    if model.training or any(module.training for module in model.modules()) or device_of(model) != on:
        model = copy_to(model, on)
    codes = Codes(model, atlas)
    source = Stream(
        atlas,
        rows,
        config,
        genes=model.genes,
        mean_total=model.mean_total,
        device=on,
        values=model.reads.values,
        sparse=model.reads.is_sparse,
    )
    with source:
        for minibatch in source.minibatches(epoch=0):
            # Not around the yield: the mode is the thread's, and would be the caller's between two parts.
            with torch.inference_mode():
                latent = model.embed(codes.of_model(minibatch)).float().cpu().numpy()
            yield latent
