"""The limit of any loader of a store: its blocks read and decoded, and nothing else."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from streaming.ours import BLOCK, BUFFER, MINIBATCH, Epochs


class Delivered(NamedTuple):
    """Cells that were decoded, and are gone."""

    shape: tuple[int]


def decoded_epochs(path: Path) -> Epochs:
    """The blocks of the stream's own plan, in its order, on every core; each thread decodes into arrays of its own."""
    import livelatent as ll
    from livelatent.atlas.shards import Shards
    from livelatent.stream.plan import StreamConfig, plan_epoch

    atlas = ll.Atlas.open(path)
    arrays = atlas.csr()
    indptr, rows = arrays.indptr, atlas.rows(labelled=None)
    config = StreamConfig(minibatch_cells=MINIBATCH, block_cells=BLOCK, buffer_cells=BUFFER)
    parts = [Shards(path / "X" / name, array) for name, array in (("data", arrays.data), ("indices", arrays.indices))]
    most = int(np.max(indptr[BLOCK:] - indptr[:-BLOCK])) if atlas.n_cells > BLOCK else int(indptr[-1])
    n_threads = len(os.sched_getaffinity(0))
    slots = [[np.empty(most, part.dtype) for part in parts] for _ in range(n_threads)]

    def decode(slot: list[Any], blocks: Iterator[tuple[int, int]], lock: Any) -> None:
        while True:
            with lock:
                block = next(blocks, None)
            if block is None:
                return
            first, last = int(indptr[block[0]]), int(indptr[block[1]])
            for part, out in zip(parts, slot, strict=True):
                part.read_into(first, last, out[: last - first])

    def epoch_of(epoch: int) -> Iterator[Delivered]:
        plan = plan_epoch(rows, config, epoch)
        blocks = iter([(int(rows[a]), int(rows[b - 1]) + 1) for group in plan for a, b in group.spans])
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(decode, slots, repeat(blocks), repeat(Lock())))
        yield Delivered((len(rows),))

    return epoch_of
