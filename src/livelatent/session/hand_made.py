"""Flags as a person put them together, laid over the clusters that were found: pure sets of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int

__all__ = ["Piece", "laid_over"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Cells that are one flag."""

    rows: Int[ndarray, " cell"]
    """Ascending."""
    sources: tuple[int, ...]
    """The clusters found that they come from."""
    id: int | None = None
    """That of the hand-made flag; None for a cluster, or what is left of one, as it was found."""


def laid_over(found: Sequence[Int[ndarray, " _"]], hand_made: Mapping[int, Int[ndarray, " _"]]) -> tuple[Piece, ...]:
    """What was found, with what a person merged and cut kept so.

    Parameters
    ----------
    found
        The cells of each cluster: ascending, and no cell in two.
    hand_made
        The cells of each hand-made flag by its id; no cell in two.

    Returns
    -------
    Clusters as found in their order, then hand-made flags by id.

    Notes
    -----
    A cluster goes with hand-made flags when they share half of its cells or of theirs. Then each cell that a
    hand-made flag has stays with that flag. Its other cells, flagged since, follow the flag that has most of the
    cluster; where hand-made flags have less than half of it, they stay a cluster of their own.
    """
    owner_of = _Owners(hand_made)
    gathered: dict[int, list[ndarray]] = {}
    sources: dict[int, list[int]] = {}
    pieces = []
    for index, rows in enumerate(found):
        owner = owner_of(rows)
        owners, n_own = np.unique(owner[owner > 0], return_counts=True)
        n_shared, n_theirs = int(n_own.sum()), sum(len(hand_made[int(one)]) for one in owners)
        if not n_shared or 2 * n_shared < min(len(rows), n_theirs):
            pieces.append(Piece(rows=rows, sources=(index,)))
            continue
        if 2 * n_shared >= len(rows):
            owner = np.where(owner > 0, owner, owners[np.argmax(n_own)])
        for one in owners:
            gathered.setdefault(int(one), []).append(rows[owner == one])
            sources.setdefault(int(one), []).append(index)
        if (owner == 0).any():
            pieces.append(Piece(rows=rows[owner == 0], sources=(index,)))
    for one in sorted(gathered):
        pieces.append(Piece(rows=np.sort(np.concatenate(gathered[one])), sources=tuple(sources[one]), id=one))
    return tuple(pieces)


class _Owners:
    """Which hand-made flag each row belongs to; 0 for none."""

    def __init__(self, hand_made: Mapping[int, ndarray]) -> None:
        parts = [(np.asarray(rows, np.int64), np.full(len(rows), number)) for number, rows in hand_made.items()]
        rows, owner = (np.concatenate([np.zeros(0, np.int64), *(part[i] for part in parts)]) for i in (0, 1))
        order = np.argsort(rows, kind="stable")
        self._rows, self._owner = rows[order], owner[order]

    def __call__(self, rows: ndarray) -> ndarray:
        if not len(self._rows):
            return np.zeros(len(rows), np.int64)
        place = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return np.where(self._rows[place] == rows, self._owner[place], 0)
