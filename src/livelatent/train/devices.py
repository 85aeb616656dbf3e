"""Where training runs."""

import torch


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
