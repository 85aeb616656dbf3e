"""Inner loops as machine code."""

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code that frees the GIL; made at its first use, since numba takes a second to import.

    Not `parallel`: numba's workqueue aborts the process when two threads enter it.
    """
    import numba

    result: Callable[..., Any] = numba.njit(nogil=True, cache=True)(function)
    return result
