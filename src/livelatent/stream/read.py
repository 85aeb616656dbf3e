"""Groups of blocks from disk, one Dask task each, read ahead on threads."""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.errors import StoreError

REMOTE_AT_ONCE = 8
"""Stretches of a remote store that are read at a time."""


@dataclass(frozen=True)
class GroupSpec:
    """What one task reads; small, and picklable, so that a task can go anywhere."""

    rows: Rows
    """Rows to deliver, ascending."""
    stretches: tuple[tuple[int, int], ...]
    """(start, stop) rows to read: each holds some of `rows`, and all lie in one."""


@dataclass(frozen=True)
class CsrGroup:
    """The counts of one group; cell i's are those from `start[i]` to `stop[i]`."""

    rows: Rows
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    indices: NDArray[Any]
    data: NDArray[Any]


def group_spec(rows: Rows, block_cells: int) -> GroupSpec:
    """Read each block of `rows` from its first to its last row wanted; neighbours are merged into one request."""
    first = np.flatnonzero(np.diff(rows // block_cells, prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    stretches: list[tuple[int, int]] = []
    for start, stop in zip(rows[first].tolist(), (rows[last] + 1).tolist(), strict=True):
        if stretches and stretches[-1][1] == start:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((start, stop))
    return GroupSpec(rows, tuple(stretches))


def read_group(spec: GroupSpec, atlas: Atlas) -> CsrGroup:
    """Read one group and check all that a kernel will trust; the row pointers `atlas.csr()` has checked.

    Raises
    ------
    StoreError
        If a stretch can't be read, is short, or names a gene that the store does not have.
    """
    ptr = atlas.csr().indptr
    indices, data = [], []
    start = np.empty(len(spec.rows), np.int64)
    stop = np.empty(len(spec.rows), np.int64)
    done = 0
    bounds = [(int(ptr[a]), int(ptr[b])) for a, b in spec.stretches]
    read = values_of(
        atlas, [(*pair, f"rows {a} to {b - 1} of") for pair, (a, b) in zip(bounds, spec.stretches, strict=True)]
    )
    for (a, b), (low, high) in zip(spec.stretches, bounds, strict=True):
        where = f"{atlas.path}, rows {a} to {b - 1} ({atlas.shards_of(low, high)})"
        values, genes = next(read)
        data.append(values)
        indices.append(genes)
        if len(indices[-1]) != high - low or len(data[-1]) != high - low:
            raise StoreError(f"{where}: {len(data[-1])} values came, {high - low} were wanted; the store is damaged.")
        inside = slice(*np.searchsorted(spec.rows, (a, b)).tolist())
        start[inside] = ptr[spec.rows[inside]] - low + done
        stop[inside] = ptr[spec.rows[inside] + 1] - low + done
        if high > low and not 0 <= int(indices[-1].min()) <= int(indices[-1].max()) < atlas.n_genes:
            raise StoreError(f"{where}: names genes outside 0..{atlas.n_genes - 1}; the store is damaged.")
        done += high - low
    return CsrGroup(spec.rows, start, stop, np.concatenate(indices), np.concatenate(data))


def values_of(atlas: Atlas, asks: Sequence[tuple[int, int, str]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Stored values and their gene indices between each pair of bounds, in order; texts name them in messages."""
    if isinstance(atlas.path, Path):
        yield from (atlas.values_between(*ask) for ask in asks)
        return
    # A request to a bucket takes tens of milliseconds whatever its size, and a group some fifty of them.
    with ThreadPoolExecutor(REMOTE_AT_ONCE, thread_name_prefix="livelatent-remote") as pool:
        yield from pool.map(lambda ask: atlas.values_between(*ask), asks)


class GroupReader:
    """Reads groups in order, `groups_ahead` of them before they are asked for.

    Each group is one `dask.delayed` task run by Dask's threaded scheduler, named in the call: buffers must not
    cross processes, so neither a global Dask setting nor an active Client moves it elsewhere.
    """

    def __init__(self, atlas: Atlas, groups_ahead: int) -> None:
        self._atlas = atlas
        self._ahead = groups_ahead
        self._pool = ThreadPoolExecutor(max(groups_ahead, 1), thread_name_prefix="livelatent-read")
        self._waiters = ThreadPoolExecutor(max(groups_ahead, 1), thread_name_prefix="livelatent-ahead")

    def groups(self, specs: Sequence[GroupSpec]) -> Iterator[CsrGroup]:
        """Read `specs` in their order; a reader's exception is raised here."""
        waiting: deque[Future[CsrGroup]] = deque()
        rest = iter(specs)
        try:
            for spec in rest:
                if self._ahead == 0:
                    yield self._compute(spec)
                    continue
                waiting.append(self._waiters.submit(self._compute, spec))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Stop the threads; a group that is being read is finished first."""
        self._waiters.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _compute(self, spec: GroupSpec) -> CsrGroup:
        import dask

        task = dask.delayed(functools.partial(read_group, spec, self._atlas), pure=False)()
        group: CsrGroup = task.compute(scheduler="threads", pool=self._pool)
        return group
