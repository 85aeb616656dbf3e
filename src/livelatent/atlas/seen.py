"""What was seen of numbers while they were read: enough to know whether they are counts, or indices of genes."""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Int64, Num
from numpy import ndarray

from livelatent.compiled import compiled

LARGEST = 2**53
"""Up to which every whole number is one of float64's."""


class Seen(NamedTuple):
    """Of each stretch; nothing of one without a value."""

    n_odd: Int64[ndarray, " stretch"]
    """Values that are no counts: negative, above 2**53, or no whole numbers."""
    highest: Int64[ndarray, " stretch"]
    """Of whole-number types; else, and without a value, -1."""
    n_falls: Int64[ndarray, " stretch"]
    """Of whole-number types: values that are not above the one before."""

    @classmethod
    def nothing(cls, n: int) -> Self:
        """Of stretches that are to be read."""
        return cls(np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, np.int64))

    def after(self, done: int) -> Self:
        """Without the first so many; the same memory."""
        return type(self)(*(of[done:] for of in self))

    def note(self, number: int, values: Num[ndarray, " value"]) -> None:
        """Look at a whole stretch."""
        for of, found in zip(self, compiled(look)(values, values.dtype.kind == "f"), strict=True):
            of[number] = found

    def are_below(self, n: int) -> Bool[ndarray, " stretch"]:
        """Of whole-number types, whether all are from 0 to n - 1."""
        found: ndarray = (self.n_odd == 0) & (self.highest < n)
        return found


def look(values: Any, is_float: Any) -> Any:  # pragma: no cover
    """How many are odd, the highest, how many are falls.

    No loop leaves early, so each is vector instructions; but the extremes of floats would not be (NaN has no order).
    """
    n_odd, highest, n_falls = 0, np.int64(-1), 0
    if is_float:
        for k in range(values.size):
            is_count = (values[k] >= 0) & (values[k] <= LARGEST) & (np.floor(values[k]) == values[k])
            n_odd += not is_count
    elif values.size > 0:
        top = values[0]
        for k in range(values.size):
            top = max(top, values[k])
        for k in range(values.size):
            n_odd += (values[k] < 0) | (values[k] > LARGEST)
        for k in range(1, values.size):
            n_falls += values[k] <= values[k - 1]
        # What is too large for it is odd already.
        highest = np.int64(top)
    return n_odd, highest, n_falls
