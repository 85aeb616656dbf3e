"""Label and batch codes of an atlas in a model's words."""

import dataclasses

import torch
from torch import Tensor

from livelatent.arrays import Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.models.model import Model, codes_in
from livelatent.stream.minibatch import Minibatch


class Codes:
    """Label and batch codes of an atlas → those of a model, by name."""

    def __init__(self, model: Model, atlas: Atlas) -> None:
        self._label = codes_in(atlas.label_names, model.label_names)
        # A model without batches has one, 0, and all cells are of it. A cell of an atlas without batches is of none
        # that a model with batches has seen.
        self._batch = codes_in(atlas.batch_names or ("",), model.batch_names)
        if not model.batch_names:
            self._batch[:] = 0

    def of_model(self, minibatch: Minibatch) -> Minibatch:
        """The minibatch in the model's codes; -1 where a name is unknown to it."""
        return dataclasses.replace(
            minibatch,
            label=self._translated(minibatch.label, self._label),
            batch=self._translated(minibatch.batch, self._batch),
        )

    @staticmethod
    def _translated(code: Int[Tensor, " cell"], table: Int[ndarray, " name"]) -> Int[Tensor, " cell"]:
        return torch.from_numpy(table).to(code.device)[code]
