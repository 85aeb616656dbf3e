"""Stretches of a sharded array on this machine's disk: one read for each run of chunks, decoded where they belong.

The same through zarrs took 4.2 us of CPU a cell where this takes 2.6 (blocks of 512 cells, 20,000 genes), and 1.7
for 0.5 (2,000 genes): it allocates what it decodes, and every call sets up a pipeline. Only what our own stores are
written with is read here, and a shard that holds anything else is an error; any other array is left to Zarr.
"""

import os
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc, zstd
from numpy import ndarray

ENTRY_BYTES, CHECKSUM_BYTES = 16, 4
"""Of a shard's index: offset and length of a chunk, both u64; crc32c of all of them behind."""
BLOSC_HEADER = struct.Struct("<BBBBIII")


class ShardError(ValueError):
    """A shard is missing or damaged; whoever asked knows which rows it holds, and says so."""


class Shards:
    """One long array, its shards' indices held once they were read.

    Parameters
    ----------
    folder
        The array's own, with its `zarr.json`.
    """

    def __init__(self, folder: Path, array: "zarr.Array[Any]") -> None:
        assert array.shards is not None
        self.folder = folder
        self.dtype: np.dtype[Any] = array.dtype
        self.n_values = int(array.shape[0])
        self.fill_value = array.fill_value
        self.chunk = int(array.chunks[0])
        self.n_chunks = int(array.shards[0]) // self.chunk
        """In a shard."""
        self._indices: dict[int, ndarray] = {}

    def read(self, first: int, last: int) -> ndarray:
        """Values `first` to `last`.

        Raises
        ------
        ShardError
            If a file is missing or damaged: the index has a checksum, and so has every chunk.
        """
        first, last, _ = slice(first, last).indices(self.n_values)
        out = np.empty(max(0, last - first), self.dtype)
        chunk, end = first // self.chunk, -(-last // self.chunk)
        while out.size and chunk < end:
            shard, begin = divmod(chunk, self.n_chunks)
            stop = min(self.n_chunks, begin + end - chunk)
            self._decode(shard, begin, stop, first, out)
            chunk += stop - begin
        return out

    def _decode(self, shard: int, begin: int, stop: int, first: int, out: ndarray) -> None:
        """Decode chunks `begin` to `stop` of a shard into `out`, whose first value is the array's value `first`."""
        # Blosc adds at most its header to what can't be made smaller; a frame that says more is refused by zstd.
        frame = np.empty(self.chunk * self.dtype.itemsize + BLOSC_HEADER.size, np.uint8)
        with self._opened(shard) as file:
            places = self._index(shard, file)[begin:stop]
            bounds = np.cumsum(places[:, 1]) + places[0, 0]
            is_run = bool((places[0, 0] >= 0) and (places[1:, 0] == bounds[:-1]).all() and (places[:, 1] >= 0).all())
            run = memoryview(self._bytes(file, shard, int(places[0, 0]), int(bounds[-1]))) if is_run else None
            for number, (offset, length) in enumerate(places.tolist(), start=begin):
                at = (shard * self.n_chunks + number) * self.chunk
                target = out[max(at - first, 0) : max(at - first + self.chunk, 0)]
                if offset == length == -1:
                    target[:] = self.fill_value
                    continue
                if run is not None:
                    stored = run[offset - int(places[0, 0]) :][:length]
                else:
                    stored = memoryview(self._bytes(file, shard, offset, offset + length))
                if target.size == self.chunk:
                    self._decode_chunk(stored, target, frame, shard, number)
                else:
                    whole = np.empty(self.chunk, self.dtype)
                    self._decode_chunk(stored, whole, frame, shard, number)
                    skipped = max(first - at, 0)
                    target[:] = whole[skipped : skipped + target.size]

    def _decode_chunk(self, stored: memoryview, target: ndarray, frame: ndarray, shard: int, number: int) -> None:
        try:
            zstd.decompress(stored, frame)
            *_, n_bytes, _, n_stored = BLOSC_HEADER.unpack_from(frame)
            # Blosc believes its header; a chunk that says another length must not be written past its place.
            if n_bytes != target.nbytes or n_stored > frame.size:
                raise ValueError(f"{n_bytes} bytes are in it, {target.nbytes} belong there")
            blosc.decompress(frame[:n_stored], memoryview(target).cast("B"))
        except (RuntimeError, ValueError, struct.error) as error:
            raise self._damage(shard, f"chunk {number}: {error}") from error

    def _index(self, shard: int, file: Any) -> ndarray:
        """Offset and length of every chunk of a shard, -1 for one that holds the fill value only."""
        if shard not in self._indices:
            size = os.fstat(file.fileno()).st_size
            n_bytes = self.n_chunks * ENTRY_BYTES
            raw = self._bytes(file, shard, size - n_bytes - CHECKSUM_BYTES, size)
            if google_crc32c.value(raw[:n_bytes]) != int.from_bytes(raw[n_bytes:], "little"):
                raise self._damage(shard, "the checksum of its index differs")
            places = np.frombuffer(raw[:n_bytes], "<u8").astype(np.int64).reshape(-1, 2)
            there = places[:, 0] != -1
            if bool((places[there] < 0).any()) or bool((places[there].sum(axis=1) > size).any()):
                raise self._damage(shard, "its index points outside of it")
            self._indices[shard] = places
        return self._indices[shard]

    def _opened(self, shard: int) -> Any:
        try:
            return open(self.folder / "c" / str(shard), "rb", buffering=0)
        except OSError as error:
            raise self._damage(shard, str(error.strerror)) from error

    def _bytes(self, file: Any, shard: int, first: int, last: int) -> bytes:
        """Bytes `first` to `last` of a shard."""
        found = os.pread(file.fileno(), last - first, first) if 0 <= first <= last else b""
        if len(found) != last - first:
            raise self._damage(shard, f"it ends before byte {last}")
        return found

    def _damage(self, shard: int, reason: str) -> "ShardError":
        return ShardError(f"c/{shard}: {reason}")


def is_ours(array: "zarr.Array[Any]") -> bool:
    """Whether an array is coded as our own stores are: blosc in a Zstandard frame with a checksum, in shards."""
    codecs: Any = array.metadata.to_dict()["codecs"]
    if array.ndim != 1 or not array.dtype.isnative or [codec["name"] for codec in codecs] != ["sharding_indexed"]:
        return False
    shards = codecs[0]["configuration"]
    inner, index = shards["codecs"], shards["index_codecs"]
    return (
        shards.get("index_location", "end") == "end"
        and [codec["name"] for codec in inner] == ["bytes", "blosc", "zstd"]
        and bool(inner[2]["configuration"]["checksum"])
        and [codec["name"] for codec in index] == ["bytes", "crc32c"]
        and all(codec.get("configuration", {}).get("endian", "little") == "little" for codec in (inner[0], index[0]))
    )
