"""Inner loops as machine code."""

import contextlib
import functools
import importlib
import sys
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


def keep_compiled(package: str) -> None:
    """Import a package and have the machine code of its own functions kept on disk, where numba keeps that of ours.

    Not for functions that take functions: their types match in no other process, so that each run would compile them
    again and leave its files behind (pynndescent's: 0.7 MB a run).
    """
    from numba.core.dispatcher import Dispatcher

    importlib.import_module(package)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        for function in list(vars(sys.modules[name]).values()):
            if isinstance(function, Dispatcher) and function.py_func.__module__ == name:
                # No folder can be written: it is compiled each time, as before.
                with contextlib.suppress(RuntimeError):
                    function.enable_caching()
