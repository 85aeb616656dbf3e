"""Small products on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS and torch to one thread inside the block.

    The products here are small, and threads wait for each other by spinning. Beside a training run on two cores, a
    regression of 0.1 CPU s took 11, the eigenvectors of 765 genes 5.7 s, and the networks of score 3 20 s for 1.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
