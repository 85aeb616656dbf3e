"""Where training runs."""

import contextlib

import torch

from livelatent.errors import DeviceError
from livelatent.threads import has_few_cores, one_thread

WORTH_THREADS = 5e8
"""Weights x cells of a minibatch below which one CPU thread does a step."""


def resolve_device(device: str | torch.device) -> torch.device:
    """`"auto"` is the first CUDA device, or the CPU where there is none.

    Raises
    ------
    DeviceError
        If it is no device, or torch can't use it here.
    """
    if device == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        resolved = torch.device(device)
        if resolved.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("torch sees no CUDA device")
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f'device={str(device)!r} can\'t be used here ({reason}). Use "auto" or "cpu".') from error
    return resolved


def device_of(model: torch.nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def cpu_threads(model: torch.nn.Module, minibatch_cells: int) -> contextlib.AbstractContextManager[None]:
    """Train on one CPU thread where the model is small, or the cores are few; else on as many as torch likes."""
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    is_small = n_weights * minibatch_cells < WORTH_THREADS
    return one_thread() if is_small or has_few_cores() else contextlib.nullcontext()
