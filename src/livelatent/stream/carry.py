"""The counts of cells that a balanced stream carries on from group to group."""

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.stream.kernels import gather
from livelatent.stream.read import CsrGroup, Part
from livelatent.stream.slots import Slots, carve, room_for


def carry(group: CsrGroup, carried: CsrGroup, came_from: Int[ndarray, " carried"], slots: Slots) -> CsrGroup:
    """Those cells of a group, and of what it had carried, that the next group carries: copied, so that both may go.

    Parameters
    ----------
    came_from
        Places among the group's cells and, behind them, those carried.
    """
    own = came_from < len(group.rows)
    chosen = [(group, came_from[own]), (carried, came_from[~own] - len(group.rows))]
    at = [np.flatnonzero(own), np.flatnonzero(~own)]
    atlases = sorted({part.atlas for one, _ in chosen for part in one.parts})
    picks = {
        atlas: [
            (one, part, cells[here], place[here])
            for (one, cells), place in zip(chosen, at, strict=True)
            for number, part in enumerate(one.parts)
            if part.atlas == atlas
            for here in [_here(one, number, cells)]
        ]
        for atlas in atlases
    }
    lengths = {
        atlas: sum(int((one.stop[cells] - one.start[cells]).sum()) for one, _, cells, _ in found)
        for atlas, found in picks.items()
    }
    kinds = [
        (array.dtype, lengths[atlas])
        for atlas, found in picks.items()
        for array in (found[0][1].data, found[0][1].indices)
    ]
    needed = room_for(*kinds)
    arrays = carve(slots.take() if needed <= slots.n_bytes else np.empty(needed, np.uint8), *kinds)
    n_cells = len(came_from)
    rows, part_of = np.empty(n_cells, np.int64), np.zeros(n_cells, np.int64)
    start, stop = np.empty(n_cells, np.int64), np.empty(n_cells, np.int64)
    parts = []
    for number, (atlas, found) in enumerate(picks.items()):
        data, indices = arrays[2 * number : 2 * number + 2]
        done = 0
        for one, part, cells, place in found:
            length = one.stop[cells] - one.start[cells]
            first = np.cumsum(length) - length + done
            gather(part.data, part.indices, one.start[cells], one.stop[cells], first, data, indices)
            rows[place], part_of[place] = one.rows[cells], number
            start[place], stop[place] = first, first + length
            done += int(length.sum())
        parts.append(Part(atlas, data, indices))
    obsm = {name: _picked([(one.obsm[name], cells) for one, cells in chosen], at, n_cells) for name in group.obsm}
    return CsrGroup(rows, start, stop, part_of if len(parts) > 1 else None, tuple(parts), obsm)


def in_order(group: CsrGroup, rows: Rows) -> CsrGroup:
    """The same cells in the order of `rows`, not ascending as they were read."""
    at = np.searchsorted(group.rows, rows)
    return CsrGroup(
        rows,
        group.start[at],
        group.stop[at],
        None if group.part is None else group.part[at],
        group.parts,
        {name: vectors[at] for name, vectors in group.obsm.items()},
    )


def _here(group: CsrGroup, part: int, cells: Int[ndarray, " cell"]) -> Int[ndarray, " cell"]:
    here = group.of_part(part, cells)
    return np.arange(len(cells)) if here is None else here


def _picked(sources: list[tuple[ndarray, ndarray]], at: list[ndarray], n_cells: int) -> ndarray:
    out = np.empty((n_cells, *sources[0][0].shape[1:]), sources[0][0].dtype)
    for (values, cells), place in zip(sources, at, strict=True):
        out[place] = values[cells]
    return out
