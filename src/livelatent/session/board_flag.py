"""A flag with an identity that outlives its recomputation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int

__all__ = ["LARGEST_ID", "BoardFlag", "identified"]

SAME_OVERLAP = 0.5
"""Flags that share this much of the smaller one are the same flag, recomputed."""
LARGEST_ID = 65_534
"""Flag ids are sent as Uint16."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardFlag:
    """A flag with an identity that outlives its recomputation."""

    id: int
    is_query: bool
    rows: Int[ndarray, " cell"]
    judged: Any

    def __repr__(self) -> str:
        return f"BoardFlag({self.id}: {len(self.rows):,} cells. {self.judged.reason})"


def identified(
    judged: Sequence[tuple[bool, Any]], known: Mapping[int, BoardFlag], *, first_free: int | None = None
) -> tuple[BoardFlag, ...]:
    """Give each new flag the id of the earlier one that it shares most cells with, each id once.

    Parameters
    ----------
    judged
        Whether the flag is the query's, and what `judge` says of it.
    known
        Every flag seen so far, by its id: the last of each.
    first_free
        The id from which new flags are counted; None: the one behind all that are known.
    """
    rows = [np.asarray(one.rows, np.int64) for _, one in judged]
    pairs = []
    for is_query in (False, True):
        here = [index for index, (own, _) in enumerate(judged) if own == is_query]
        old = [flag for flag in known.values() if flag.is_query == is_query]
        at, by, shared = _shared([rows[index] for index in here], [flag.rows for flag in old])
        for one, other, n_shared in zip(at.tolist(), by.tolist(), shared.tolist(), strict=True):
            if n_shared >= SAME_OVERLAP * min(len(rows[here[one]]), len(old[other].rows)):
                # A newer id wins a tie: it was seen last.
                pairs.append((n_shared, old[other].id, here[one]))
    ids: dict[int, int] = {}
    taken: set[int] = set()
    for _, old_id, new in sorted(pairs, reverse=True):
        if new not in ids and old_id not in taken:
            ids[new] = old_id
            taken.add(old_id)
    free = max(known, default=0) + 1 if first_free is None else first_free
    flags = []
    for new, (is_query, one) in enumerate(judged):
        if new not in ids:
            ids[new] = min(free, LARGEST_ID)
            free += 1
        flags.append(BoardFlag(id=ids[new], is_query=is_query, rows=rows[new], judged=one))
    return tuple(flags)


def _shared(one: Sequence[ndarray], other: Sequence[ndarray]) -> tuple[ndarray, ndarray, ndarray]:
    """Which two sets of rows share cells, and how many: one product of sparse matrices, for thousands of flags."""
    import scipy.sparse as sp

    if not one or not other:
        none = np.zeros(0, np.int64)
        return none, none, none
    n_rows = 1 + max(int(rows.max(initial=-1)) for rows in (*one, *other))
    matrices = []
    for sets in (one, other):
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in sets])])
        cells = np.concatenate([np.zeros(0, np.int64), *sets])
        matrices.append(sp.csr_matrix((np.ones(len(cells), np.int64), cells, starts), (len(sets), n_rows)))
    both = (matrices[0] @ matrices[1].T).tocoo()
    return both.row, both.col, both.data
