"""Where training runs."""

import contextlib
import threading
from collections.abc import Iterator

import torch

WORTH_THREADS = 5e8
"""Weights x cells of a minibatch below which one CPU thread does a step."""

_guard = threading.Lock()
_given_back: list[int] = []
"""The number of threads to give back, then one entry per run that holds it at 1."""


def resolve_device(device: str | torch.device) -> torch.device:
    """`"auto"` is the first CUDA device, or the CPU where there is none.

    Raises
    ------
    ValueError
        If a CUDA device is asked for and torch sees none.
    """
    if device == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device={str(device)!r} was asked for, but torch sees no CUDA device. Use "auto" or "cpu".')
    return resolved


def device_of(model: torch.nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def cpu_threads(model: torch.nn.Module, minibatch_cells: int) -> Iterator[None]:
    """Train small models on one CPU thread.

    Torch's threads meet at a barrier after every operation. Where a step is milliseconds they gain little, and on
    a busy machine each barrier waits for a turn of the scheduler: 360 steps on 560 cells x 765 genes took 3 s on
    one thread and 170 s on two while other work kept both cores busy.
    """
    if sum(parameter.numel() for parameter in model.parameters()) * minibatch_cells >= WORTH_THREADS:
        yield
        return
    # Torch keeps one number for the process, so the last run to end gives it back.
    with _guard:
        if not _given_back:
            _given_back.append(torch.get_num_threads())
            torch.set_num_threads(1)
        _given_back.append(0)
    try:
        yield
    finally:
        with _guard:
            _given_back.pop()
            if len(_given_back) == 1:
                torch.set_num_threads(_given_back.pop())
