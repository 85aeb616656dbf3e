"""Random numbers that depend on nothing but a seed."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers that follow from `seed`; the user's own random state is given back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed % 2**63)
        yield
