"""Splits by hash: eight, one and one tenths, the same for the same cell, and of no pattern."""

import numpy as np
import pytest

from livelatent.atlas.hashed_split import hashed_split

ROWS = np.arange(200_000)
FIRST = [
    1,
    0,
    0,
    0,
    0,
    2,
    0,
    0,
    0,
    0,
    0,
    2,
    2,
    0,
    0,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    1,
    0,
    0,
    2,
    0,
    1,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    2,
    0,
    0,
]


@pytest.mark.parametrize(("source", "seed"), [("a.h5ad", 0), ("a.h5ad", 1), ("b/dataset_0", 0), ("é\udcff", 7)])
def test_shares_are_tenths_everywhere_in_the_file(source: str, seed: int) -> None:
    split = hashed_split(source, ROWS, seed)
    # Three standard deviations of a share of 20,000 cells are .006 and .009.
    for part in (*np.split(split, 10), *(split[k::10] for k in range(10))):
        assert np.bincount(part, minlength=3) / part.size == pytest.approx([0.8, 0.1, 0.1], abs=0.012)
    neighbours = np.corrcoef(split[1:] == 0, split[:-1] == 0)[0, 1]
    assert abs(neighbours) < 0.01


def test_a_cell_is_where_it_is_whatever_other_cells_there_are() -> None:
    split = hashed_split("a.h5ad", ROWS)
    some = np.array([199_999, 3, 70_000])
    assert (hashed_split("a.h5ad", some) == split[some]).all()
    # Written down once: a run that is resumed by a later version must find its cells where they were.
    assert split[:40].tolist() == FIRST


def test_another_file_or_seed_is_another_split() -> None:
    one = hashed_split("a.h5ad", ROWS) == 0
    for other in (hashed_split("b.h5ad", ROWS), hashed_split("a.h5ad", ROWS, 1)):
        assert abs(np.corrcoef(one, other == 0)[0, 1]) < 0.01
