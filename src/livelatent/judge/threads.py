"""BLAS kept to one thread."""

from contextlib import AbstractContextManager
from typing import cast


def one_blas_thread() -> AbstractContextManager[object]:
    """Run BLAS on one thread inside the block.

    Its threads wait for each other by spinning. Beside a training run on two cores, a regression of 0.1 CPU s took
    11, and the eigenvectors of 765 genes 5.7 s.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="blas"))
