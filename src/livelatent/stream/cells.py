"""Which cells of which groups minibatches are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int, Rows
from livelatent.stream.read import CsrGroup, Part


@dataclass(frozen=True)
class Take:
    """Cells that a minibatch takes from one group."""

    group: CsrGroup
    cells: Int[ndarray, " cell"]
    """Places in the group."""

    @property
    def rows(self) -> Rows:
        """Their rows, of all atlases."""
        rows: Rows = self.group.rows[self.cells]
        return rows


@dataclass(frozen=True)
class Cells:
    """Cells of a minibatch that lie in one part of a group."""

    part: Part
    start: Int[ndarray, " cell"]
    stop: Int[ndarray, " cell"]
    at: Int[ndarray, " cell"]
    """Their rows of the minibatch."""


def cells_by_part(takes: Sequence[Take]) -> list[Cells]:
    """Where the cells of a minibatch lie, those of one part together."""
    found, done = [], 0
    for take in takes:
        for number, part in enumerate(take.group.parts):
            here = take.group.of_part(number, take.cells)
            cells = take.cells if here is None else take.cells[here]
            at = np.arange(len(take.cells)) if here is None else here
            if len(cells):
                found.append(Cells(part, take.group.start[cells], take.group.stop[cells], at + done))
        done += len(take.cells)
    return found
