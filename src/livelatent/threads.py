"""One keeper of the process's numerical threads: small work runs on one, whoever asks, and the last gives them back."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


def one_thread_here() -> None:
    """Keep OpenMP work that the calling thread begins (torch's, scikit-learn's) to itself; other threads keep theirs.

    To be called again where a library may have been loaded since.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

    # Torch gives a thread its number of threads at the first use there, and would undo what was set before.
    if torch := sys.modules.get("torch"):
        torch.get_num_threads()
    threadpool_limits(1, user_api="openmp")


def has_few_cores() -> bool:
    """Whether this process may use so few cores that numerical threads get in each other's way."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return cores <= FEW_CORES


def _limited() -> Callable[[], None]:
    """Go to one thread; gives what undoes it."""
    from threadpoolctl import threadpool_limits

    limits: Any = threadpool_limits(1, user_api="blas")
    # Torch keeps a number of its own; it is not imported for this.
    torch = sys.modules.get("torch")
    before = _of_new_threads(torch) if torch else 0
    if torch:
        torch.set_num_threads(1)

    def undo() -> None:
        limits.restore_original_limits()
        if torch:
            torch.set_num_threads(before)

    return undo


def _of_new_threads(torch: Any) -> int:
    """Torch's number of threads for a thread that begins now; the calling one may be kept to fewer."""
    with ThreadPoolExecutor(1) as fresh:
        return int(fresh.submit(torch.get_num_threads).result())
