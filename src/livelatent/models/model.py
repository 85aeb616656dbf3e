"""What every model answers: stages, losses, embed, config."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from livelatent.arrays import Float, Int, ndarray
from livelatent.stream.balance import Balance
from livelatent.stream.minibatch import Minibatch

if TYPE_CHECKING:
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
        """L of METHODS 1: the mean total of the training atlas, by which every query is normalised."""
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
        """Named loss terms of a minibatch whose codes are the model's own."""
        raise NotImplementedError

    def embed(self, minibatch: Minibatch) -> Float[Tensor, "cell latent"]:
        """Latent of each cell."""
        raise NotImplementedError

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
