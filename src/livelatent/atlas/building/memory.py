"""What a memory limit buys during ingest."""

import contextlib
import ctypes
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from livelatent.errors import MemoryLimitError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

BASE_BYTES = 64_000_000
"""Whatever the size: pipelines, thread pools, the allocator's slack."""
CELL_BYTES = 300
"""Per cell: row lengths, totals and order are held throughout (32), names or one column of obs at the end."""
CHUNK_BYTES = 96
"""Per value of a chunk: read in the widest types, looked over, repaired where rows are not in order, narrowed."""
CHUNK_ELEMENTS = 2_000_000
"""Larger chunks are no faster, until there are so many that a bucket is in a thousand pieces."""
BUCKET_ELEMENTS = 8_000_000


def parse_memory(memory: str | int) -> int:
    """Bytes from `"4GB"`, `"512 MiB"` or a number."""
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", memory)
        if match is None or match[2].upper() not in UNITS:
            raise MemoryLimitError(f'memory must read like "4GB" or "512MiB", or be a number of bytes; got {memory!r}.')
        return int(float(match[1]) * UNITS[match[2].upper()])
    return int(memory)


def give_back() -> None:
    """Hand freed memory back to the system: glibc keeps what was freed in pieces of less than 32 MB."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of each thing may be in memory at once, in stored values."""

    free: int
    """Bytes for what is read, sorted and written."""
    chunk_elements: int
    bucket_elements: int

    def n_buckets(self, n_elements: int) -> int:
        """Buckets, so that the largest of them fits: their sizes vary, hence the quarter more."""
        return max(1, math.ceil(1.25 * n_elements / self.bucket_elements))

    def shard_elements(self, wanted: int, index: "np.dtype[Any]", value: "np.dtype[Any]") -> int:
        """Values per shard: held, and in the worst case as large again when compressed."""
        return max(1, min(wanted, self.free // 2 // (2 * (index.itemsize + value.itemsize))))


def divided(memory: str | int, *, n_cells: int, n_genes: int, n_elements: int) -> Budget:
    """Divide a limit among chunk, bucket and shard.

    Raises
    ------
    MemoryLimitError
        If it is below what the cells' columns, one full cell and the smallest buffers need.
    """
    limit = parse_memory(memory)
    minimum = BASE_BYTES + CELL_BYTES * n_cells + 4 * CHUNK_BYTES * n_genes
    if limit < minimum:
        raise MemoryLimitError(
            f"memory={memory!r} is too little for {n_cells} cells x {n_genes} genes: at least "
            f'{math.ceil(minimum / 1e6)}MB are needed. Pass memory="{math.ceil(minimum / 1e6)}MB" or more.'
        )
    # Names and columns come after the matrix, so that only a tenth of a cell's bytes is held beside its buffers.
    free = limit - BASE_BYTES // 2 - CELL_BYTES // 5 * n_cells
    # A bucket is read in as many pieces as there were chunks: both grow where memory allows and the atlas is large.
    growth = max(1.0, math.sqrt(n_elements / 4e9))
    return Budget(
        free=free,
        chunk_elements=max(n_genes, min(free // 4 // CHUNK_BYTES, int(growth * CHUNK_ELEMENTS))),
        # 24 bytes a value: read as it was scattered (at most 12), and again where a wider type came later.
        bucket_elements=max(n_genes, min(free // 4 // 24, int(growth * BUCKET_ELEMENTS))),
    )
