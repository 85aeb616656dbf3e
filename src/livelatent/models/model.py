"""What every model answers: stages, losses, embed, config; and what it may say besides."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from livelatent.arrays import Float, Int, ndarray
from livelatent.stream.balance import Balance
from livelatent.stream.minibatch import Minibatch, Values

if TYPE_CHECKING:
    from livelatent.arrays import Rows
    from livelatent.atlas.atlas import Atlas
    from livelatent.train.stage import Stage


@dataclass(frozen=True)
class Losses:
    """What one minibatch says."""

    terms: dict[str, Tensor]
    """Named, before their weights."""
    total: Tensor
    """The number to minimise."""
    diagnostics: dict[str, Tensor] = field(default_factory=dict)
    """What went into the terms: anchors left out, temperatures."""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """Shown as curves beside the terms, never optimised."""
    cells: dict[str, Tensor] = field(default_factory=dict)
    """Of each cell, detached: those of all validation cells together are what the model's verdict is about."""


@dataclass(frozen=True)
class Verdict:
    """What can be said of many cells together, and of no minibatch by itself."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Curves beside those of the validation."""
    alarms: tuple[str, ...] = ()
    """What is wrong with the model as it is now, each in a sentence or two; shown until it is wrong no more."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What a model reads of each cell, beside its label and batch."""

    values: Values = "log1p"
    """log1p(count * mean_total / total), or counts."""
    is_sparse: bool = False
    """A `torch.sparse_csr` tensor: a cell's non-zero genes alone, however many."""
    obs: tuple[str, ...] = ()
    """Columns that come along in training, and are not there when cells are embedded."""
    obsm: tuple[str, ...] = ()
    """The same of arrays."""


class Model(torch.nn.Module):
    """A torch module with four answers: `stages`, `losses`, `embed`, `config`.

    `config` is a frozen dataclass of plain values; `type(model)(model.config)` builds a model with the same
    shapes, and the weights do the rest.
    """

    config: Any
    folder: Path | None = None
    """Where the model is saved, or its run keeps it."""
    notes: tuple[str, ...] = ()
    """Facts a user should read once, such as a loss term that is off."""
    balance: Balance | None = None
    """The minibatches that its losses need, where the user names no stream; None takes each cell once an epoch."""
    reads: Reads = Reads()
    """What its minibatches hold."""

    @property
    def genes(self) -> ndarray:
        """Names of the genes the model reads, in its order."""
        return np.array(self.config.genes, dtype=object)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Types the model knows; its label codes count in them."""
        return tuple(self.config.label_names)

    @property
    def batch_names(self) -> tuple[str, ...]:
        """Batches the model has seen."""
        return tuple(self.config.batch_names)

    @property
    def mean_total(self) -> float:
        """The mean total count of the training atlas (L of equation 2.3), by which every query is normalised."""
        return float(self.config.mean_total)

    @property
    def atlas_path(self) -> str:
        """The store it was trained on; a hint, since it may be gone."""
        return str(self.config.atlas_path)

    @property
    def stages(self) -> "tuple[Stage, ...]":
        """The stages of training, in order."""
        raise NotImplementedError

    def losses(self, minibatch: Minibatch, stage: "Stage") -> Losses:
        """Named loss terms of a minibatch whose codes are the model's own; `stage` weighs them as of this step."""
        raise NotImplementedError

    def embed(self, minibatch: Minibatch) -> Float[Tensor, "cell latent"]:
        """Latent of each cell of a minibatch whose codes are the model's own; a batch may be -1, new to it."""
        raise NotImplementedError

    def verdict(self, cells: Mapping[str, Tensor]) -> Verdict:
        """What to say, once an epoch, of the validation's `Losses.cells`, put together; not asked without any."""
        return Verdict()

    def relabelled(self, atlas: "Atlas", rows: "Rows | None" = None) -> "Model":
        """A model of these weights that knows the labels of `atlas`, for training to go on with; this one stays.

        Parameters
        ----------
        atlas
            The store that this model was trained on, under other labels.
        rows
            Cells that may be used.
        """
        twin: Model = type(self)(dataclasses.replace(self.config, label_names=tuple(atlas.label_names)))
        twin.load_state_dict(self.state_dict())
        twin.notes = self.notes
        return twin

    def sha256(self) -> str:
        """Hash of config and weights: it names the model in labels and in what `judge` keeps."""
        from livelatent.models.weights import hash_model

        return hash_model(self)

    def save(self, folder: str | Path) -> Path:
        """Write `model.safetensors` and `model.json` to `folder`, which becomes the model's own."""
        from livelatent.models.weights import save_model

        return save_model(self, Path(folder))


def codes_in(names: Sequence[str], vocabulary: Sequence[str]) -> Int[ndarray, " name"]:
    """Code in `vocabulary` of each of `names`, -1 where it is unknown; a last -1 answers the code -1."""
    place = {name: code for code, name in enumerate(vocabulary)}
    return np.array([*(place.get(name, -1) for name in names), -1], dtype=np.int64)
