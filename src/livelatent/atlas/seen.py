"""What was seen of numbers while they were read: enough to know whether they are counts, or indices of genes."""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float64, Int64, Num
from numpy import ndarray

from livelatent.compiled import compiled


class Seen(NamedTuple):
    """Of each stretch; of one without a value the lowest is infinite, the highest minus that."""

    lowest: Float64[ndarray, " stretch"]
    highest: Float64[ndarray, " stretch"]
    n_fractions: Int64[ndarray, " stretch"]
    """Values that are no whole numbers; NaN is none."""
    n_falls: Int64[ndarray, " stretch"]
    """Values that are not above the one before."""

    @classmethod
    def nothing(cls, n: int) -> Self:
        """Of stretches that are to be read."""
        return cls(np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, np.int64), np.zeros(n, np.int64))

    def after(self, done: int) -> Self:
        """Without the first so many; the same memory."""
        return type(self)(*(of[done:] for of in self))

    def note(self, number: int, values: Num[ndarray, " value"]) -> None:
        """Look at a whole stretch."""
        for of, found in zip(self, compiled(look)(values), strict=True):
            of[number] = found

    def are_below(self, n: int) -> Bool[ndarray, " stretch"]:
        """Whether all are from 0 to n - 1."""
        return (self.lowest >= 0) & (self.highest < n)


def look(values: Any) -> Any:  # pragma: no cover
    """Lowest, highest, number of fractions, of falls. No loop leaves early, so each is vector instructions."""
    n_fractions, n_falls = 0, 0
    if values.size == 0:
        return np.inf, -np.inf, n_fractions, n_falls
    low, high = values[0], values[0]
    for k in range(values.size):
        low, high = min(low, values[k]), max(high, values[k])
    for k in range(values.size):
        n_fractions += np.floor(values[k]) != values[k]
    for k in range(1, values.size):
        n_falls += values[k] <= values[k - 1]
    return float(low), float(high), n_fractions, n_falls
