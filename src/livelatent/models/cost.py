"""What training a model would cost, told before anybody waits for it."""

import time

import torch

from livelatent.models.cellular import Cellular
from livelatent.models.encoder import towers_of

__all__ = ["cpu_seconds_per_epoch"]

TRIAL_CELLS = 4


def cpu_seconds_per_epoch(model: Cellular, n_cells: int, *, minibatch_cells: int = 256) -> float:
    """CPU seconds that an epoch over `n_cells` cells takes on this machine, from a trial of a few random cells.

    Parameters
    ----------
    model
        On the CPU; it is left as it was.

    Notes
    -----
    The encoder's forward and backward pass of four cells, the second of two trials (the first pays for what is set
    up once). Where a minibatch passes a transformer in chunks, its forward pass is done twice: a third more. Loss,
    optimiser and reading are left out: beside a transformer they are nothing.
    """
    x = torch.rand(TRIAL_CELLS, len(model.genes), generator=torch.Generator().manual_seed(0))
    parameters = list(model.encoder.parameters())
    seconds = 0.0
    for _ in range(2):
        started = time.process_time()
        torch.autograd.grad(model.encoder(x).sum(), parameters)
        seconds = time.process_time() - started
    again = any(tower.chunk_cells < minibatch_cells for tower in towers_of(model.encoder).values())
    return seconds / TRIAL_CELLS * n_cells * (4 / 3 if again else 1)
