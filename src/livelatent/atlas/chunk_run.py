"""Many stretches of an array read and decoded in one call that frees the GIL from its first byte to its last.

Through numcodecs each chunk takes the GIL a dozen times for checks of its arguments; with two decoding threads beside
a consumer they mostly wait for each other (benchmarks/stream.py, 2,000 genes: 2.4 us of CPU a cell, 1.5 without
threads). The libraries are those that numcodecs brings: its C functions are called at their addresses, and so is the
system's own for files. Where they can't be found (a build that hides them), `Shards` asks numcodecs chunk by chunk.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.atlas import seen
from livelatent.atlas.seen import Seen
from livelatent.atlas.stretches import Stretches

O_RDONLY = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
RUN_BYTES = 1 << 18
"""Stored bytes that are read at a time: they stay in a core's own cache until they are decoded."""
STEPS = {"zstd": 0, "blosc": 1}
MAY_BE = (("blosc",), ("zstd",), ("zstd", "blosc"))
"""Codecs in the order of decoding."""


class ChunkRuns:
    """Reads stretches of one array; a run of chunks that lie in a row is one request.

    Parameters
    ----------
    codecs
        Names in the order of decoding, one of `MAY_BE`.
    chunk, n_chunks
        Values in a chunk, and chunks in a shard.
    """

    def __init__(self, codecs: Sequence[str], kind: "np.dtype[Any]", chunk: int, n_chunks: int) -> None:
        self._steps = np.array([STEPS[name] for name in codecs], np.int64)
        self._itemsize, self._chunk, self._n_chunks = kind.itemsize, chunk, n_chunks
        functions = functions_of_libraries()
        assert functions is not None
        self._functions = functions

    def read(self, folder: str, stretches: Stretches, places: ndarray, out: ndarray, seen: Seen) -> int:
        """Fill parts of `out` with stretches of the array.

        Parameters
        ----------
        folder
            Where the shards lie, each under its number.
        places
            Offset and length in its shard of every chunk of the array.
        seen
            Written for each stretch that is read.

        Returns
        -------
        The first stretch that could not be read: a chunk of it is damaged, missing, or the fill value only. -1 where
        all are there.
        """
        chunk_bytes = self._chunk * self._itemsize
        name = np.frombuffer(f"{folder}{os.sep}".encode() + bytes(24), np.uint8).copy()
        failed: int = _compiled_read()(
            *stretches,
            name,
            places,
            self._chunk,
            self._n_chunks,
            self._itemsize,
            self._steps,
            out,
            out.view(np.uint8),
            _scratch("run", max(RUN_BYTES, frame_bytes(chunk_bytes))),
            _scratch("between", frame_bytes(chunk_bytes)),
            _scratch("whole", chunk_bytes),
            out.dtype.kind == "f",
            *seen,
            self._functions,
        )
        return failed


def frame_bytes(n_bytes: int) -> int:
    """Room for a chunk that is decoded half: what can't be made smaller grows by a few headers and checksums."""
    return n_bytes + n_bytes // 256 + 128


_held = threading.local()


def _scratch(name: str, n_bytes: int) -> ndarray:
    """A piece of memory of this thread, used again by its next call."""
    room: ndarray | None = getattr(_held, name, None)
    if room is None or room.size < n_bytes:
        room = np.empty(n_bytes + n_bytes // 4, np.uint8)
        setattr(_held, name, room)
    return room[:n_bytes]


def can_run(codecs: Sequence[str]) -> bool:
    """Whether chunks coded so are decoded here."""
    return tuple(codecs) in MAY_BE and functions_of_libraries() is not None


@functools.cache
def functions_of_libraries() -> tuple[int, ...] | None:
    """Addresses of `open`, `pread`, `close`, `ZSTD_decompress`, `blosc_decompress_ctx` and `ZSTD_XXH64`.

    None where one is hidden; the last is 0 where it alone is.
    """
    from numcodecs import blosc

    try:
        library, system = ctypes.CDLL(blosc.__file__), ctypes.CDLL(None)
        zstd, blosc_ctx = (_address(library, name) for name in ("ZSTD_decompress", "blosc_decompress_ctx"))
        of_system = [_address(system, name) for name in ("open", "pread", "close")]
    except (OSError, AttributeError, TypeError):
        return None
    # Sizes and offsets are passed as 64 bits, and an error of Zstandard reads as negative then.
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    return *of_system, zstd, blosc_ctx, _address(library, "ZSTD_XXH64") if hasattr(library, "ZSTD_XXH64") else 0


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _compiled_read() -> Callable[..., int]:
    # Threads come here together, and what is compiled calls what is compiled before it.
    with _compiling:
        return _compile_read()


_compiling = threading.Lock()


@functools.cache
def _compile_read() -> Callable[..., int]:
    import numba

    from livelatent.atlas import native_call

    globals()["call_c"] = native_call.call_c
    globals()["_only_raw_block"] = numba.njit(_only_raw_block)
    globals()["_decode_run"] = numba.njit(_decode_run)
    globals()["_write_number"] = numba.njit(_write_number)
    globals()["_look"] = numba.njit(seen.look)
    read: Callable[..., int] = numba.njit(nogil=True, cache=True)(_read_stretches)
    return read


call_c: Any
_look: Any
"""Come with numba, see `_compiled_read`."""


def _read_stretches(
    first: Any,
    last: Any,
    at: Any,
    name: Any,
    places: Any,
    chunk: Any,
    n_chunks: Any,
    itemsize: Any,
    steps: Any,
    out: Any,
    out_bytes: Any,
    run: Any,
    between: Any,
    whole: Any,
    is_float: Any,
    n_odd: Any,
    highest: Any,
    n_falls: Any,
    functions: Any,
) -> int:  # pragma: no cover
    open_, pread, close, zstd, blosc, xxh64 = functions
    chunk_bytes = chunk * itemsize
    bounds = np.empty(n_chunks + 1, np.int64)
    for k in range(first.size):
        to_first, to_last = at[k], at[k] + last[k] - first[k]
        target = out_bytes[to_first * itemsize : to_last * itemsize]
        n_odd[k], highest[k], n_falls[k] = 0, -1, 0
        begin = first[k] // chunk
        end = (last[k] + chunk - 1) // chunk if last[k] > first[k] else begin
        shard, file = -1, np.int64(-1)
        while begin < end:
            if begin // n_chunks != shard:
                if file >= 0:
                    call_c(close, file, 0, 0, 0)
                shard = begin // n_chunks
                _write_number(name, shard)
                # An int of 32 bits comes back, its upper half undefined.
                file = np.int64(np.int32(call_c(open_, np.int64(name.ctypes.data), O_RDONLY, 0, 0) & 0xFFFFFFFF))
                if file < 0:
                    return k
            low = places[begin, 0]
            stop, high, n = begin, low, 0
            # As many chunks as lie behind one another in the file and have room.
            while stop < end and n < n_chunks and (stop == begin or stop % n_chunks != 0):
                length = places[stop, 1]
                if places[stop, 0] != high or high < 0 or length < 0 or high + length - low > run.size:
                    break
                bounds[n] = high - low
                stop, high, n = stop + 1, high + length, n + 1
            bounds[n] = high - low
            from_value = begin * chunk - first[k]
            to_value = min(stop * chunk, last[k]) - first[k]
            skipped = max(-from_value, 0) * itemsize
            from_value = max(from_value, 0)
            is_read = (
                stop > begin
                and call_c(pread, file, np.int64(run.ctypes.data), high - low, low) == high - low
                and _decode_run(
                    run,
                    bounds[: n + 1],
                    steps,
                    chunk_bytes,
                    skipped,
                    target[from_value * itemsize : to_value * itemsize],
                    between,
                    whole,
                    zstd,
                    blosc,
                    xxh64,
                )
                < 0
            )
            if not is_read:
                call_c(close, file, 0, 0, 0)
                return k
            # Looked at now, while they lie in the core's own cache.
            values = out[to_first + from_value : to_first + to_value]
            odd, top, falls = _look(values, is_float)
            n_odd[k], highest[k], n_falls[k] = n_odd[k] + odd, max(highest[k], top), n_falls[k] + falls
            if from_value > 0 and values.size > 0 and not is_float:
                n_falls[k] += values[0] <= out[to_first + from_value - 1]
            begin = stop
        if file >= 0:
            call_c(close, file, 0, 0, 0)
    return -1


def _write_number(name: Any, number: Any) -> None:  # pragma: no cover
    """Put decimal digits behind the last separator of a path that ends in zeros."""
    at = name.size - 24
    n_digits, rest = 1, number // 10
    while rest > 0:
        n_digits, rest = n_digits + 1, rest // 10
    for digit in range(n_digits):
        name[at + n_digits - 1 - digit] = 48 + number % 10
        number = number // 10
    name[at + n_digits] = 0


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
    """Fill `out` with what the chunks hold but for the first `skipped` bytes; the first that is damaged, or -1."""
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
