"""A run of chunks decoded in one call that frees the GIL from its first byte to its last.

Through numcodecs each chunk takes the GIL a dozen times for checks of its arguments; with two decoding threads beside
a consumer they mostly wait for each other (benchmarks/stream.py, 2,000 genes: 2.4 us of CPU a cell, 1.5 without
threads). The libraries are those that numcodecs brings: its C functions are called at their addresses. Where they
can't be found (a build that hides them), `Shards` asks numcodecs chunk by chunk.
"""

import ctypes
import functools
import threading
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
def functions_of_numcodecs() -> tuple[int, int, int] | None:
    """Addresses of `ZSTD_decompress`, `blosc_decompress_ctx` and `ZSTD_XXH64`; None where the first two are hidden.

    The last is 0 where it alone is.
    """
    from numcodecs import blosc

    try:
        library = ctypes.CDLL(blosc.__file__)
        zstd, blosc_ctx = (_address(library, name) for name in ("ZSTD_decompress", "blosc_decompress_ctx"))
    except (OSError, AttributeError):
        return None
    # Sizes are passed as 64 bits, and an error of Zstandard reads as negative then.
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    return zstd, blosc_ctx, _address(library, "ZSTD_XXH64") if hasattr(library, "ZSTD_XXH64") else 0


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _compiled_run() -> Callable[..., int]:
    # Threads come here together, and what is compiled calls what is compiled before it.
    with _compiling:
        return _compile_run()


_compiling = threading.Lock()


@functools.cache
def _compile_run() -> Callable[..., int]:
    import numba

    from livelatent.atlas import native_call

    globals()["call_c"] = native_call.call_c
    globals()["_only_raw_block"] = numba.njit(_only_raw_block)
    decode: Callable[..., int] = numba.njit(nogil=True, cache=True)(_decode_run)
    return decode


call_c: Any
"""Comes with numba, see `_compiled_run`."""


def _only_raw_block(held: Any, at: Any, n: Any) -> Any:  # pragma: no cover
    """Where the content of a Zstandard frame begins that is one block, not compressed, with a checksum; 0 of any other.

    RFC 8878, 3.1.1. Ours are such: chunks that Blosc has compressed, in a frame for its checksum.
    """
    if n < 16 or held[at] != 0x28 or held[at + 1] != 0xB5 or held[at + 2] != 0x2F or held[at + 3] != 0xFD:
        return np.int64(0)
    descriptor = held[at + 4]
    # A single segment, a checksum, no dictionary, the reserved bit unset.
    if descriptor & 0x2F != 0x24:
        return np.int64(0)
    n_size = 1 << (descriptor >> 6)
    size = np.int64(256 if n_size == 2 else 0)
    for byte in range(min(n_size, 4)):
        size += np.int64(held[at + 5 + byte]) << (8 * byte)
    begin = 5 + n_size + 3
    block = np.int64(0)
    for byte in range(3):
        block |= np.int64(held[at + begin - 3 + byte]) << (8 * byte)
    # The last, raw, and as long as the frame says and as there is room for.
    is_it = n_size <= 4 and block & 0b111 == 1 and block >> 3 == size and begin + size + 4 == n
    return np.int64(begin if is_it else 0)


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
    xxh64: Any,
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
                inside = _only_raw_block(held, at, n) if not is_last and xxh64 != 0 else np.int64(0)
                if inside > 0:
                    # It holds what it was given as it was: looked at where it lies, and not copied.
                    stored = n - inside - 4
                    checksum = np.int64(0)
                    for byte in range(4):
                        checksum |= np.int64(held[at + n - 4 + byte]) << (8 * byte)
                    if call_c(xxh64, source + inside, stored, 0, 0) & 0xFFFFFFFF != checksum:
                        return k
                    at, n = at + inside, stored
                    continue
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
