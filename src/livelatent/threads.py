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
_torch_before: int | None = None
"""Torch's number for threads to come, while some block holds it to one."""


class _Own(threading.local):
    """OpenMP's number is each thread's own: who leaves before the last gets back what it came with, and no more."""

    n_blocks = 0
    before: int | None = None


_own = _Own()

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
    if _own.n_blocks == 0:
        _own.before = _threads_here()
    _own.n_blocks += 1
    with _lock:
        _n_holders += 1
        # At every entry: a BLAS or a torch loaded since the first has a number of its own (a find took 49 s for 5).
        _to_undo.append(_limited())
    try:
        yield
    finally:
        with _lock:
            _n_holders -= 1
            if _n_holders == 0:
                _give_back()
        _own.n_blocks -= 1
        if _own.n_blocks == 0 and _own.before is not None and _threads_here() != _own.before:
            _set_here(_own.before)


def one_thread_here() -> None:
    """Keep OpenMP work that the calling thread begins (torch's, scikit-learn's) to itself; other threads keep theirs.

    To be called again where a library may have been loaded since.
    """
    _threads_here()  # torch gives a thread its number at the first use there, and would undo what was set before
    _set_here(1)


def has_few_cores() -> bool:
    """Whether this process may use so few cores that numerical threads get in each other's way."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return cores <= FEW_CORES


def _limited() -> Callable[[], None]:
    """Go to one thread; gives what undoes it for BLAS."""
    global _torch_before
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

    limits: Any = threadpool_limits(1, user_api="blas")
    # Torch keeps a number of its own; it is not imported for this.
    if torch := sys.modules.get("torch"):
        if _torch_before is None:
            _torch_before = _of_new_threads(torch)
        torch.set_num_threads(1)
    undo: Callable[[], None] = limits.restore_original_limits
    return undo


def _give_back() -> None:
    global _torch_before
    while _to_undo:
        _to_undo.pop()()
    if _torch_before is not None:
        sys.modules["torch"].set_num_threads(_torch_before)
        _torch_before = None


def _threads_here() -> int | None:
    """Torch's number in the calling thread; None before torch is loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


def _of_new_threads(torch: Any) -> int:
    """Torch's number of threads for a thread that begins now; the calling one may be kept to fewer."""
    with ThreadPoolExecutor(1) as fresh:
        try:
            return int(fresh.submit(torch.get_num_threads).result())
        except RuntimeError:  # no thread begins any more: the interpreter ends
            return int(torch.get_num_threads())


def _set_here(n_threads: int) -> None:
    """OpenMP's number for what the calling thread begins, in every library that is loaded."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(n_threads, user_api="openmp")
