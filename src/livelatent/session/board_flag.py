"""A flag with an identity that outlives its recomputation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int

__all__ = ["BoardFlag", "identified"]

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


def identified(judged: Sequence[tuple[bool, Any]], known: Mapping[int, BoardFlag]) -> tuple[BoardFlag, ...]:
    """Give each new flag the id of the earlier one that it shares most cells with, each id once.

    Parameters
    ----------
    judged
        Whether the flag is the query's, and what `judge` says of it.
    known
        Every flag seen so far, by its id: the last of each.
    """
    rows = [np.asarray(one.rows, np.int64) for _, one in judged]
    pairs = []
    for new, (is_query, _) in enumerate(judged):
        for old in known.values():
            if old.is_query != is_query:
                continue
            shared = len(np.intersect1d(rows[new], old.rows, assume_unique=True))
            if shared and shared >= SAME_OVERLAP * min(len(rows[new]), len(old.rows)):
                # A newer id wins a tie: it was seen last.
                pairs.append((shared, old.id, new))
    ids: dict[int, int] = {}
    for _, old_id, new in sorted(pairs, reverse=True):
        if new not in ids and old_id not in ids.values():
            ids[new] = old_id
    free = max(known, default=0) + 1
    flags = []
    for new, (is_query, one) in enumerate(judged):
        if new not in ids:
            ids[new] = min(free, LARGEST_ID)
            free += 1
        flags.append(BoardFlag(id=ids[new], is_query=is_query, rows=rows[new], judged=one))
    return tuple(flags)
