"""Memory that is lent out, and comes back when nothing refers to it any more."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

ALIGNMENT = 64


class Slots:
    """Pieces of memory of one size, used again rather than given back to the system.

    The first touch of a page costs more than all that is done with it afterwards: a minibatch of 20,000 genes
    gathered into new memory took 5 to 18 us a cell here, and 0.7 into memory that was used before.

    A piece is lent as an array, and is free again once that array, everything made of it (views, torch tensors that
    share it) and all their kin are gone; so what a user keeps is never written over.

    Parameters
    ----------
    n_bytes
        Of each piece.
    n_kept
        How many free ones are held at most.
    memory
        Makes a new piece of that many bytes; None means ordinary memory (a GPU is fed from pinned memory).
    """

    def __init__(self, n_bytes: int, n_kept: int, memory: Callable[[int], ndarray] | None = None) -> None:
        self.n_bytes = n_bytes
        self._n_kept = n_kept
        self._memory = memory or _ordinary
        self._free: deque[ndarray] = deque()
        self._lock = threading.Lock()

    def take(self) -> ndarray:
        """A piece, as bytes; what it holds is left from its last use."""
        with self._lock:
            # The one that came back last: caches may still hold it.
            memory = self._free.pop() if self._free else self._memory(self.n_bytes)
        return np.frombuffer(_Loan(memory, self._give_back), np.uint8)

    def _give_back(self, memory: ndarray) -> None:
        # Called from wherever the last reference goes, perhaps inside `take` itself: so no lock.
        if len(self._free) < self._n_kept:
            self._free.append(memory)


class _Loan:
    """Stands behind every array made of a piece (PEP 688), and gives it back when the last of them is gone."""

    __slots__ = ("_give_back", "_memory")

    def __init__(self, memory: ndarray, give_back: Callable[[ndarray], None]) -> None:
        self._memory = memory
        self._give_back = give_back

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._memory)

    def __del__(self) -> None:
        # Ctrl-C may have come before it was made.
        if hasattr(self, "_give_back"):
            self._give_back(self._memory)


def _ordinary(n_bytes: int) -> ndarray:
    return np.empty(n_bytes, np.uint8)


def room_for(*parts: tuple["np.dtype[Any]", int]) -> int:
    """Bytes that `carve` needs for arrays of these types and lengths."""
    return sum(_aligned(kind.itemsize * length) for kind, length in parts)


def carve(memory: ndarray, *parts: tuple["np.dtype[Any]", int]) -> list[ndarray]:
    """Arrays of these types and lengths, one after the other in a piece of memory."""
    if room_for(*parts) > memory.size:
        raise ValueError(f"{room_for(*parts)} bytes were wanted of a piece of {memory.size}.")
    at, arrays = 0, []
    for kind, length in parts:
        n_bytes = kind.itemsize * length
        arrays.append(memory[at : at + n_bytes].view(kind))
        at += _aligned(n_bytes)
    return arrays


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
