"""One keeper of the process's numerical threads: small work runs on one, whoever asks, and the last gives them back."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_n_holders = 0
_to_undo: list[Callable[[], None]] = []

FEW_CORES = 2
"""Up to here a second numerical thread costs more than it gives, whatever the size of the work."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS and torch to one thread inside the block; blocks may overlap in any order, over several threads.

    Numerical threads wait for each other by spinning at a barrier after every operation. Beside other work on two
    cores, 360 training steps took 170 s for 3, a regression of 0.1 CPU s took 11, the eigenvectors of 765 genes
    5.7 s; on the same two cores idle, a training step of 1,024 cells took 0.73 s on two threads, 0.13 on one.
    """
    global _n_holders
    with _lock:
        _n_holders += 1
        # At every entry: a BLAS or a torch loaded since the first has a number of its own (a find took 49 s for 5).
        _to_undo.append(_limited())
    try:
        yield
    finally:
        with _lock:
            _n_holders -= 1
            while _n_holders == 0 and _to_undo:
                _to_undo.pop()()


def has_few_cores() -> bool:
    """Whether this process may use so few cores that numerical threads get in each other's way."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return cores <= FEW_CORES


def _limited() -> Callable[[], None]:
    """Go to one thread; gives what undoes it."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

    limits: Any = threadpool_limits(1, user_api="blas")
    # Torch keeps a number of its own; it is not imported for this.
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)

    def undo() -> None:
        limits.restore_original_limits()
        if torch:
            torch.set_num_threads(before)

    return undo
