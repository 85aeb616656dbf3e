"""Where training runs."""

import contextlib

import torch

from livelatent.threads import has_few_cores, one_thread

WORTH_THREADS = 5e8
"""Weights x cells of a minibatch below which one CPU thread does a step."""


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


def cpu_threads(model: torch.nn.Module, minibatch_cells: int) -> contextlib.AbstractContextManager[None]:
    """Train on one CPU thread where the model is small, or the cores are few; else on as many as torch likes."""
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    is_small = n_weights * minibatch_cells < WORTH_THREADS
    return one_thread() if is_small or has_few_cores() else contextlib.nullcontext()
