"""How a model does on cells that it is not trained on, and what it says of itself."""

import torch
from torch import Tensor

from livelatent.models.model import Model
from livelatent.stream.stream import Stream
from livelatent.train.codes import Codes
from livelatent.train.random_numbers import random_numbers
from livelatent.train.stage import Stage


def validate(
    model: Model, stage: Stage, checks: Stream, codes: Codes, seed: int, before: tuple[str, ...]
) -> tuple[dict[str, float] | None, tuple[str, ...]]:
    """Mean of each term over the validation cells, None where there are none; and what is wrong with the model."""
    if checks.n_steps == 0:
        return None, before
    model.eval()
    sums: dict[str, float] = {}
    cells: dict[str, list[Tensor]] = {}
    n_cells = 0
    # The same random numbers every time: a model that draws its latents is held against itself, not against luck.
    with torch.no_grad(), random_numbers(seed, checks.device):
        for minibatch in checks.minibatches(epoch=0):
            losses = model.losses(codes.of_model(minibatch), stage)
            for name, value in {**losses.terms, **losses.metrics, "loss": losses.total}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * minibatch.n_cells
            for name, values in losses.cells.items():
                cells.setdefault(name, []).append(values)
            n_cells += minibatch.n_cells
        means = {name: value / n_cells for name, value in sums.items()}
        if not cells:
            return means, before
        verdict = model.verdict({name: torch.cat(parts) for name, parts in cells.items()})
    return means | verdict.metrics, verdict.alarms


def watched(stage: Stage, validation: dict[str, float]) -> float:
    """What patience goes by.

    Raises
    ------
    ValueError
        If the validation has no such value.
    """
    if stage.watches not in validation:
        raise ValueError(
            f"stage {stage.name!r} watches {stage.watches!r}, and its validation has {', '.join(sorted(validation))}."
        )
    return validation[stage.watches]
