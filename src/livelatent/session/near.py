"""The cells nearest to a prototype, as they were when somebody asked: a label of theirs is replayed by that."""

import threading
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int
from livelatent.session.look import Look

__all__ = ["Near", "NearBook"]

ANSWERS_KEPT = 256
"""Twelve cells each: a page that goes through all types does not lose the one that it selected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Near:
    """One answer: the panel's nearest cells, the nearest first."""

    number: int
    name: str
    """The prototype."""
    cell: Int[ndarray, " near"]
    is_query: Int[ndarray, " near"]
    distance: Float[ndarray, " near"]

    @property
    def cells(self) -> list[list[int]]:
        """As [is_query, row]."""
        return [[int(query), int(row)] for query, row in zip(self.is_query, self.cell, strict=True)]

    @property
    def seen(self) -> dict[str, ndarray]:
        """What a selector refers to: only the nearest, since all others lie farther by the rule."""
        return {
            "cell": self.cell.astype("<i8"),
            "is_query": self.is_query.astype("u1"),
            "distance": self.distance.astype("<f8"),
        }


class NearBook:
    """The last answers, by their numbers; any thread may ask."""

    def __init__(self) -> None:
        self._answers: dict[int, Near] = {}
        self._n = 0
        self._lock = threading.Lock()

    def ask(self, look: Look | None, name: str, point: Float[ndarray, " latent"], n_cells: int) -> Near:
        """The panel's cells nearest to a point of the latent space; none before the first look."""
        cell = is_query = np.zeros(0, np.int64)
        distance = np.zeros(0)
        if look is not None:
            distance = np.linalg.norm(look.latent - point, axis=1)
            nearest = np.argsort(distance, kind="stable")[:n_cells]
            cell, is_query, distance = look.panel.cell[nearest], look.panel.is_query[nearest], distance[nearest]
        with self._lock:
            self._n += 1
            near = Near(number=self._n, name=name, cell=cell, is_query=is_query, distance=distance)
            self._answers[near.number] = near
            self._answers.pop(near.number - ANSWERS_KEPT, None)
            return near

    def answer(self, number: int) -> Near | None:
        """An answer; None for one long gone."""
        with self._lock:
            return self._answers.get(number)
