"""Stretches of a long array, to be read at one time."""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Int64
from numpy import ndarray


class Stretches(NamedTuple):
    """Several stretches of an array, and where each is wanted."""

    first: Int64[ndarray, " stretch"]
    last: Int64[ndarray, " stretch"]
    at: Int64[ndarray, " stretch"]
    """Its first value's place in what is filled."""

    @classmethod
    def one(cls, first: int, last: int) -> Self:
        """A single one, wanted at the front."""
        return cls(*(np.array([number], np.int64) for number in (first, last, 0)))

    def after(self, done: int) -> Self:
        """Without the first so many."""
        return type(self)(*(of[done:] for of in self))

    def between(self, first: int, last: int) -> Self:
        """What of them lies from value `first` to value `last`, as stretches of those."""
        low, high = np.maximum(self.first, first), np.minimum(self.last, last)
        some = low < high
        return type(self)(low[some] - first, high[some] - first, (self.at + low - self.first)[some])

    def lie_within(self, n_values: int, out: ndarray) -> bool:
        """Whether all are of an array of `n_values`, and have their places in `out`."""
        first, last, at = self
        return out.ndim == 1 and bool(
            ((first >= 0) & (first <= last) & (last <= n_values) & (at >= 0) & (at + last - first <= out.size)).all()
        )

    def each(self) -> Iterator[tuple[int, int, int]]:
        """One after the other."""
        return zip(*(of.tolist() for of in self), strict=True)
