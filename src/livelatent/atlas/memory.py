"""What a memory limit buys during ingest."""

import math
import re
from dataclasses import dataclass

from livelatent.errors import MemoryLimitError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

CELL_BYTES = 300
"""Per cell held throughout: names, columns, row pointers, order."""
CHUNK_BYTES = 64
"""Per value of a chunk being checked and scattered: read, widened, sorted, narrowed."""
BUCKET_BYTES = 40
"""Per value of a bucket being permuted, the widest types included."""
SHARD_BYTES = 40
"""Per value of a shard being held and compressed, data and indices together."""
BASE_BYTES = 64_000_000


def parse_memory(memory: str | int) -> int:
    """Bytes from `"4GB"`, `"512 MiB"` or a number."""
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", memory)
        if match is None or match[2].upper() not in UNITS:
            raise MemoryLimitError(f'memory must read like "4GB" or "512MiB", or be a number of bytes; got {memory!r}.')
        return int(float(match[1]) * UNITS[match[2].upper()])
    return int(memory)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of each thing may be in memory at once, in stored values."""

    chunk_elements: int
    bucket_elements: int
    shard_elements: int

    def n_buckets(self, n_elements: int) -> int:
        """Buckets, so that the largest of them fits: their sizes vary, hence the quarter more."""
        return max(1, math.ceil(1.25 * n_elements / self.bucket_elements))


def divided(memory: str | int, *, n_cells: int, n_genes: int, shard_elements: int) -> Budget:
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
    free = limit - CELL_BYTES * n_cells - BASE_BYTES // 2
    return Budget(
        chunk_elements=max(n_genes, min(free // 4 // CHUNK_BYTES, 8_000_000)),
        bucket_elements=max(n_genes, free // 2 // BUCKET_BYTES),
        shard_elements=max(1, min(shard_elements, free // 4 // SHARD_BYTES)),
    )
