"""How a stream is doing: for the view, and for whoever wonders why training waits."""

import time
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

MEMORY = 0.99
"""Of the past that counts after each minibatch: about the last hundred are seen."""


@dataclass(frozen=True)
class Health:
    """Over about the last hundred minibatches; all 0 before the first."""

    cells_per_s: float = 0.0
    """Delivered, the consumer's own work included."""
    wait_share: float = 0.0
    """Share of the time that the consumer waited for the stream."""
    types: float = 0.0
    """Labels per minibatch."""
    batches: float = 0.0
    """Batches (donors) per minibatch."""
    lone_cells: float = 0.0
    """Labelled cells per minibatch with no other of their label: anchors without a positive."""
    groups_ready: float = 0.0
    """Share of the groups asked for ahead that were read when a minibatch was asked for."""
    bytes_read: int = 0
    """Decoded since the stream was made."""


@dataclass(frozen=True)
class Mixture:
    """What a minibatch holds."""

    n_cells: int
    types: int
    batches: int
    lone_cells: int


def mixture(label: ndarray, batch: ndarray) -> Mixture:
    """Count labels and batches of a minibatch, codes below 0 left out."""
    of_label, of_batch = (np.bincount(codes + 1)[1:] for codes in (label, batch))
    return Mixture(
        len(label), int(np.count_nonzero(of_label)), int(np.count_nonzero(of_batch)), int((of_label == 1).sum())
    )


class Meter:
    """Keeps the running means that a `Health` shows."""

    def __init__(self) -> None:
        self._asked = self._given = time.perf_counter()
        self._n = self._cells = self._waited = self._spent = 0.0
        self._types = self._batches = self._lone = self._ready = 0.0

    def begins(self) -> None:
        """An epoch is asked for: the time before it is nobody's."""
        self._given = time.perf_counter()

    def asked(self) -> None:
        """The consumer wants a minibatch."""
        self._asked = time.perf_counter()

    def gives(self, held: Mixture, ready: float) -> None:
        """It gets one."""
        now = time.perf_counter()
        self._waited = MEMORY * self._waited + now - self._asked
        self._spent = MEMORY * self._spent + now - self._given
        self._given = now
        self._n = MEMORY * self._n + 1
        self._cells = MEMORY * self._cells + held.n_cells
        self._types = MEMORY * self._types + held.types
        self._batches = MEMORY * self._batches + held.batches
        self._lone = MEMORY * self._lone + held.lone_cells
        self._ready = MEMORY * self._ready + ready

    def health(self, bytes_read: int) -> Health:
        """As of now."""
        n, spent = max(self._n, 1e-9), max(self._spent, 1e-9)
        return Health(
            cells_per_s=self._cells / spent,
            wait_share=min(self._waited / spent, 1.0),
            types=self._types / n,
            batches=self._batches / n,
            lone_cells=self._lone / n,
            groups_ready=self._ready / n,
            bytes_read=bytes_read,
        )
