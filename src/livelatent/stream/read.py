"""Groups of blocks from disk, one Dask task each, read ahead on threads."""

import functools
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.stretches import Stretches
from livelatent.errors import LivelatentError
from livelatent.stream.kernels import gather
from livelatent.stream.slots import Slots, carve, room_for
from livelatent.stream.together import Together

REMOTE_AT_ONCE = 8
"""Stretches of a remote store that are read at a time: a request takes tens of milliseconds whatever its size."""
MERGED_BLOCKS = 4
"""Neighbouring blocks in one stretch at most. A stretch decodes the chunks at its two ends for other cells' sake, so
longer is cheaper; shorter ones share out better over threads."""
SHARES = 2
"""Calls per core and group that read its stretches: each frees the GIL once, and two make up for a core that lags."""
DENSE_ENOUGH = 0.75
"""Share of the values read that are wanted, below which they alone are kept: a subset of cells that lie scattered
would fill the memory with its neighbours."""


@dataclass(frozen=True)
class PartSpec:
    """What a group holds of one atlas."""

    atlas: int
    """Number of the atlas."""
    rows: Rows
    """Its rows to deliver, ascending."""
    stretches: tuple[tuple[int, int], ...]
    """(start, stop) rows to read: each holds some of `rows`, and all lie in one."""


@dataclass(frozen=True)
class GroupSpec:
    """What one task reads; small, and picklable, so that a task can go anywhere."""

    rows: Rows
    """Rows of all atlases to deliver, ascending."""
    parts: tuple[PartSpec, ...]


@dataclass(frozen=True)
class CsrGroup:
    """The counts of one group; cell i's are those from `start[i]` to `stop[i]` of its part."""

    rows: Rows
    start: Int[ndarray, " cell"]
    stop: Int[ndarray, " cell"]
    part: Int[ndarray, " cell"] | None
    """Which of `parts` each cell is in; None where there is one."""
    parts: tuple["Part", ...]
    obsm: dict[str, Float[ndarray, "cell dim"]] = field(default_factory=dict)

    def of_part(self, number: int, cells: Int[ndarray, " cell"]) -> Int[ndarray, " cell"] | None:
        """Places among `cells` that lie in a part; None means all of them."""
        return None if self.part is None else np.flatnonzero(self.part[cells] == number)


@dataclass(frozen=True)
class Part:
    """Stored values and gene indices of one atlas, as they are on disk."""

    atlas: int
    data: Any
    indices: Any


def group_spec(rows: Rows, block_cells: int, together: Together) -> GroupSpec:
    """Read each block of `rows` from its first to its last row wanted; neighbours are merged into one request."""
    parts = []
    bounds = np.append(np.searchsorted(rows, together.first), len(rows)).tolist()
    for number, first in enumerate(together.first.tolist()):
        own = rows[bounds[number] : bounds[number + 1]] - first
        if len(own):
            parts.append(PartSpec(number, own, _stretches(own, block_cells)))
    return GroupSpec(rows, tuple(parts))


def _stretches(rows: Rows, block_cells: int) -> tuple[tuple[int, int], ...]:
    begins = np.flatnonzero(np.diff(rows // block_cells, prepend=-1))
    ends = np.append(begins[1:], len(rows)) - 1
    whole = (rows[ends] - rows[begins] == ends - begins).tolist()
    stretches: list[tuple[int, int]] = []
    can_grow = False
    for start, stop, is_whole in zip(rows[begins].tolist(), (rows[ends] + 1).tolist(), whole, strict=True):
        is_next = can_grow and is_whole and stretches[-1][1] == start
        if is_next and stop - stretches[-1][0] <= MERGED_BLOCKS * block_cells:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((start, stop))
        can_grow = is_whole
    return tuple(stretches)


@dataclass(frozen=True)
class Stretch:
    """Neighbouring rows that are read together, and where their values go."""

    rows: Rows
    """Those to deliver."""
    start: int
    stop: int
    into: slice
    """Of the part's values."""
    is_dense: bool
    """Kept as it is read; else the rows to deliver alone."""


def read_group(
    spec: GroupSpec, together: Together, slots: Slots, pool: ThreadPoolExecutor, obsm: Sequence[str] = ()
) -> CsrGroup:
    """Read one group; all that a kernel will trust each matrix has checked: row pointers, lengths, gene indices.

    Raises
    ------
    StoreError
        If a stretch can't be read, is short, or names a gene that the store does not have.
    """
    start, stop = np.empty(len(spec.rows), np.int64), np.empty(len(spec.rows), np.int64)
    kinds, plans, cell = [], [], 0
    for part in spec.parts:
        atlas = together.atlases[part.atlas]
        plan = _laid_out(part, atlas, start[cell : cell + len(part.rows)], stop[cell : cell + len(part.rows)])
        plans.append(plan)
        n_values = plan[-1].into.stop
        kinds += [(atlas.matrix().data_type, n_values), (atlas.matrix().index_type, n_values)]
        cell += len(part.rows)
    needed = room_for(*kinds)
    arrays = carve(slots.take() if needed <= slots.n_bytes else np.empty(needed, np.uint8), *kinds)
    parts = [Part(part.atlas, *arrays[2 * k : 2 * k + 2]) for k, part in enumerate(spec.parts)]
    jobs = [
        (together.atlases[part.atlas], part, share)
        for part, plan in zip(parts, plans, strict=True)
        for share in _shares(plan, together.atlases[part.atlas])
    ]
    # Whatever goes wrong is raised here; what is still being filled then belongs to nobody.
    for _ in pool.map(lambda job: _fill(*job), jobs):
        pass
    lengths = [len(part.rows) for part in spec.parts]
    part_of = np.repeat(np.arange(len(lengths)), lengths) if len(lengths) > 1 else None
    return CsrGroup(spec.rows, start, stop, part_of, tuple(parts), {name: _obsm(spec, together, name) for name in obsm})


def _laid_out(part: PartSpec, atlas: Atlas, start: ndarray, stop: ndarray) -> list[Stretch]:
    """The stretches one behind the other; writes where each cell's values will begin and end."""
    ptr, done, plan = atlas.matrix().indptr, 0, []
    for a, b in part.stretches:
        inside = slice(*np.searchsorted(part.rows, (a, b)).tolist())
        rows = part.rows[inside]
        n_read = int(ptr[b] - ptr[a])
        lengths = ptr[rows + 1] - ptr[rows]
        n_wanted = int(lengths.sum())
        is_dense = n_wanted >= DENSE_ENOUGH * n_read
        ends = ptr[rows + 1] - ptr[a] if is_dense else np.cumsum(lengths)
        stop[inside], start[inside] = ends + done, ends - lengths + done
        plan.append(Stretch(rows, a, b, slice(done, done + (n_read if is_dense else n_wanted)), is_dense))
        done = plan[-1].into.stop
    return plan


def _shares(plan: list[Stretch], atlas: Atlas) -> list[list[Stretch]]:
    """What one thread reads in one call: of a remote store a stretch, since requests are waited for."""
    n = len(plan) if not isinstance(atlas.path, Path) else min(len(plan), SHARES * n_cores())
    bounds = [number * len(plan) // n for number in range(n + 1)]
    return [plan[first:last] for first, last in itertools.pairwise(bounds)]


def _fill(atlas: Atlas, part: Part, share: list[Stretch]) -> None:
    dense = [stretch for stretch in share if stretch.is_dense]
    try:
        _fill_dense(atlas, part, dense)
    except LivelatentError:
        # One by one, so that the message names the rows of the one that can't be read.
        for stretch in dense:
            _fill_dense(atlas, part, [stretch])
    for stretch in share:
        if not stretch.is_dense:
            _fill_scattered(atlas, part, stretch)


def _fill_dense(atlas: Atlas, part: Part, share: list[Stretch]) -> None:
    if not share:
        return
    ptr = atlas.matrix().indptr
    start, stop = (np.array(of) for of in zip(*((stretch.start, stretch.stop) for stretch in share), strict=True))
    at = np.array([stretch.into.start for stretch in share])
    atlas.matrix().read_stretches(Stretches(ptr[start], ptr[stop], at), part.data, part.indices, _named(share))


def _fill_scattered(atlas: Atlas, part: Part, stretch: Stretch) -> None:
    ptr = atlas.matrix().indptr
    low, high = int(ptr[stretch.start]), int(ptr[stretch.stop])
    data, indices = np.empty(high - low, part.data.dtype), np.empty(high - low, part.indices.dtype)
    atlas.matrix().read_into(low, high, data, indices, _named([stretch]))
    first, last = ptr[stretch.rows] - low, ptr[stretch.rows + 1] - low
    at = np.cumsum(last - first) - (last - first)
    gather(data, indices, first, last, at, part.data[stretch.into], part.indices[stretch.into])


def _named(share: list[Stretch]) -> str:
    return f"rows {share[0].start} to {share[-1].stop - 1} of"


def _obsm(spec: GroupSpec, together: Together, name: str) -> Float[ndarray, "cell dim"]:
    # With none in front, since there may be no cell: the first group of a balanced stream carries none.
    found = [np.empty((0, together.atlases[0].obsm_rows(name).n_dims), np.float32)]
    for part in spec.parts:
        vectors = together.atlases[part.atlas].obsm_rows(name)
        for a, b in part.stretches:
            inside = slice(*np.searchsorted(part.rows, (a, b)).tolist())
            found.append(vectors.read(a, b)[part.rows[inside] - a])
    return np.concatenate(found)


class GroupReader:
    """Reads groups in order, `groups_ahead` of them before they are asked for.

    Each group is one `dask.delayed` task run by Dask's threaded scheduler, named in the call: buffers must not
    cross processes, so neither a global Dask setting nor an active Client moves it elsewhere. Inside the task the
    stretches are read and decoded on threads of their own.
    """

    def __init__(self, together: Together, slots: Slots, groups_ahead: int, obsm: Sequence[str] = ()) -> None:
        self._together, self._slots, self._obsm = together, slots, tuple(obsm)
        self._ahead = groups_ahead
        n = max(groups_ahead, 1)
        self._tasks = ThreadPoolExecutor(n, thread_name_prefix="livelatent-group")
        self._waiters = ThreadPoolExecutor(n, thread_name_prefix="livelatent-ahead")
        self._stretches = ThreadPoolExecutor(n_readers(together), thread_name_prefix="livelatent-read")
        self.makers = ThreadPoolExecutor(1, thread_name_prefix="livelatent-minibatch")
        """For what is made of groups."""
        self._waiting: deque[Future[CsrGroup]] = deque()
        self._lock = threading.Lock()
        self.is_closed = False
        self.bytes_read = 0
        """Decoded so far."""

    def groups(
        self, specs: Iterable[GroupSpec], begun: "Sequence[Future[CsrGroup]]" = ()
    ) -> "Iterator[Future[CsrGroup]]":
        """Futures of the groups in their order, behind those begun: asking for one sets those after it going."""
        waiting = self._waiting
        waiting.extend(begun)
        try:
            for spec in specs:
                waiting.append(self.read(spec))
                if len(waiting) > self._ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()

    def read(self, spec: GroupSpec, slots: Slots | None = None) -> "Future[CsrGroup]":
        """Begin to read one group; into other slots than the reader's, if they are given."""
        return self._waiters.submit(self._compute, spec, slots or self._slots)

    @property
    def ready_share(self) -> float:
        """Share of the groups begun ahead that are read."""
        waiting = list(self._waiting)
        return sum(future.done() for future in waiting) / len(waiting) if waiting else 1.0

    def close(self) -> None:
        """Stop the threads; a stretch that is being read is finished first."""
        self.is_closed = True
        # In this order: stretches that nobody has begun fail, so the tasks that wait for them end. A task taken from
        # Dask before it has begun would leave its caller waiting for ever.
        self._stretches.shutdown(wait=True, cancel_futures=True)
        self._waiters.shutdown(wait=True, cancel_futures=True)
        self._tasks.shutdown(wait=True)
        self.makers.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _compute(self, spec: GroupSpec, slots: Slots) -> CsrGroup:
        import dask
        import dask.threaded

        read = functools.partial(read_group, spec, self._together, slots, self._stretches, self._obsm)
        task = dask.delayed(read, pure=False)()
        # By the scheduler itself: `compute` first looks for ways to rewrite a graph, and takes 780 us a task for 190.
        group: CsrGroup = dask.threaded.get(task.__dask_graph__(), task.key, pool=self._tasks)
        with self._lock:
            self.bytes_read += sum(_bytes_of(part, self._together.atlases[part.atlas]) for part in spec.parts)
        return group


def _bytes_of(part: PartSpec, atlas: Atlas) -> int:
    matrix = atlas.matrix()
    starts, stops = np.array(part.stretches).T
    n_values = int((matrix.indptr[stops] - matrix.indptr[starts]).sum())
    return n_values * (matrix.data_type.itemsize + matrix.index_type.itemsize)


def n_readers(together: Together) -> int:
    """Threads that read and decode stretches of a group."""
    if any(not isinstance(atlas.path, Path) for atlas in together.atlases):
        return REMOTE_AT_ONCE
    return n_cores()


def n_cores() -> int:
    """Cores that this process may use, up to eight: more decode faster than one consumer takes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(cores, 8))
