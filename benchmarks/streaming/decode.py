"""The limit of any loader of a store: its blocks read and decoded, and nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from streaming.ours import BLOCK, BUFFER, MINIBATCH, Epochs, opened


class Delivered(NamedTuple):
    """Cells that were decoded, and are gone."""

    shape: tuple[int]


def decoded_epochs(path: Path) -> Epochs:
    """What the stream itself would read, in its order and on as many threads, each with arrays of its own."""
    from livelatent.atlas.shards import Shards
    from livelatent.stream.plan import StreamConfig, plan_epoch
    from livelatent.stream.read import group_spec, n_readers
    from livelatent.stream.together import Together

    atlas = opened(path)
    together = Together([atlas], BLOCK)
    arrays = atlas.csr()
    indptr, rows = arrays.indptr, atlas.rows(labelled=None)
    config = StreamConfig(minibatch_cells=MINIBATCH, block_cells=BLOCK, buffer_cells=BUFFER)
    parts = [Shards(path / "X" / name, array) for name, array in (("data", arrays.data), ("indices", arrays.indices))]
    n_threads = n_readers(together)
    slots: list[list[Any]] = [[np.empty(0, part.dtype) for part in parts] for _ in range(n_threads)]

    def decode(slot: list[Any], stretches: Iterator[tuple[int, int]], lock: Any) -> None:
        while True:
            with lock:
                stretch = next(stretches, None)
            if stretch is None:
                return
            first, last = int(indptr[stretch[0]]), int(indptr[stretch[1]])
            if last - first > slot[0].size:
                slot[:] = [np.empty(last - first, part.dtype) for part in parts]
            for part, out in zip(parts, slot, strict=True):
                part.read_into(first, last, out[: last - first])

    def epoch_of(epoch: int) -> Iterator[Delivered]:
        specs = [group_spec(group.rows(rows), BLOCK, together) for group in plan_epoch(rows, config, epoch)]
        stretches = iter([stretch for spec in specs for stretch in spec.parts[0].stretches])
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(decode, slots, repeat(stretches), repeat(Lock())))
        yield Delivered((len(rows),))

    return epoch_of
