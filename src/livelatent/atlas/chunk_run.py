"""A run of chunks decoded in one call that frees the GIL from its first byte to its last.

Through numcodecs each chunk takes the GIL a dozen times for checks of its arguments; with two decoding threads beside
a consumer they mostly wait for each other (benchmarks/stream.py, 2,000 genes: 2.4 us of CPU a cell, 1.5 without
threads). The libraries are those that numcodecs brings: its C functions are called at their addresses. Where they
can't be found (a build that hides them), `Shards` asks numcodecs chunk by chunk.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

STEPS = {"zstd": 0, "blosc": 1}
MAY_BE = (("blosc",), ("zstd",), ("zstd", "blosc"))
"""Codecs in the order of decoding."""


class Run:
    """Decodes runs of chunks of one array.

    Parameters
    ----------
    codecs
        Names in the order of decoding, one of `MAY_BE`.
    """

    def __init__(self, codecs: Sequence[str], chunk_bytes: int) -> None:
        self._steps = np.array([STEPS[name] for name in codecs], np.int64)
        self._chunk_bytes = chunk_bytes
        functions = functions_of_numcodecs()
        assert functions is not None
        self._functions = functions

    def decode(
        self, run: ndarray, bounds: ndarray, skipped: int, out: ndarray, between: ndarray, whole: ndarray
    ) -> int:
        """Fill `out` with what the chunks hold but for the first `skipped` bytes.

        Parameters
        ----------
        run
            The stored chunks; the k-th lies from `bounds[k]` to `bounds[k + 1]`.
        between, whole
            Room for what is decoded half, and for a chunk of which `out` takes a part.

        Returns
        -------
        The number of the first chunk that is damaged; -1 where none is.
        """
        failed: int = _compiled_run()(
            run,
            bounds,
            self._steps,
            self._chunk_bytes,
            skipped,
            out,
            between,
            whole,
            *self._functions,
        )
        return failed


def can_run(codecs: Sequence[str]) -> bool:
    """Whether chunks coded so are decoded here."""
    return tuple(codecs) in MAY_BE and functions_of_numcodecs() is not None


@functools.cache
def functions_of_numcodecs() -> tuple[int, int] | None:
    """Addresses of `ZSTD_decompress` and `blosc_decompress_ctx`; None where they are hidden."""
    from numcodecs import blosc

    try:
        library = ctypes.CDLL(blosc.__file__)
        found = [
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            for name in ("ZSTD_decompress", "blosc_decompress_ctx")
        ]
    except (OSError, AttributeError):
        return None
    zstd, blosc_ctx = found
    # Sizes are passed as 64 bits, and an error of Zstandard reads as negative then.
    return None if zstd is None or blosc_ctx is None or ctypes.sizeof(ctypes.c_void_p) != 8 else (zstd, blosc_ctx)


@functools.cache
def _compiled_run() -> Callable[..., int]:
    import numba

    from livelatent.atlas import native_call

    globals()["call_c"] = native_call.call_c
    decode: Callable[..., int] = numba.njit(nogil=True, cache=True)(_decode_run)
    return decode


call_c: Any
"""Comes with numba, see `_compiled_run`."""


def _decode_run(
    run: Any,
    bounds: Any,
    steps: Any,
    chunk_bytes: Any,
    skipped: Any,
    out: Any,
    between: Any,
    whole: Any,
    zstd: Any,
    blosc: Any,
) -> int:  # pragma: no cover
    for k in range(bounds.size - 1):
        begin = k * chunk_bytes - skipped
        end = begin + chunk_bytes
        is_whole = begin >= 0 and end <= out.size
        held, at, n = run, bounds[k], bounds[k + 1] - bounds[k]
        for step in range(steps.size):
            is_last = step == steps.size - 1
            room = chunk_bytes if is_last else between.size
            if not is_last:
                to = np.int64(between.ctypes.data)
            elif is_whole:
                to = np.int64(out.ctypes.data) + begin
            else:
                to = np.int64(whole.ctypes.data)
            source = np.int64(held.ctypes.data) + at
            if steps[step] == 0:
                n = call_c(zstd, to, room, source, n)
            else:
                # Blosc believes its header; a chunk must not be read or written past its place.
                if n < 16:
                    return k
                n_bytes, n_stored = np.int64(0), np.int64(0)
                for byte in range(4):
                    n_bytes |= np.int64(held[at + 4 + byte]) << (8 * byte)
                    n_stored |= np.int64(held[at + 12 + byte]) << (8 * byte)
                if n_bytes > room or n_stored > n or n_stored < 16:
                    return k
                # An int of 32 bits comes back, its upper half undefined; the last argument is a number of threads.
                n = np.int64(np.int32(call_c(blosc, source, to, room, 1) & 0xFFFFFFFF))
                if n != n_bytes:
                    return k
            if n < 0 or n > room:
                return k
            held, at = between, np.int64(0)
        if n != chunk_bytes:
            return k
        if not is_whole:
            first, last = max(begin, 0), min(end, out.size)
            out[first:last] = whole[first - begin : last - begin]
    return -1
