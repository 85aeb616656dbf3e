"""Whether a stretch holds counts, each gene once a cell: what a plain loop says, for any values and any cells."""

import itertools
import math

import anndata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from livelatent.atlas.foreign_check import all_counts, check_counts, row_sums
from livelatent.atlas.sources import Source, open_sources
from livelatent.atlas.sources.source import Csr
from livelatent.errors import LivelatentError

N_GENES = 9
FEW = settings(max_examples=200, deadline=None)
VALUES = [
    0,
    1,
    2,
    255,
    65_535,
    -1,
    0.5,
    2.0**31,
    2.0**53,
    2.0**53 + 2,
    2.0**60,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("check") / "a.h5ad"
    anndata.AnnData(sparse.csr_matrix(np.ones((60, N_GENES), np.float32))).write_h5ad(path)
    return open_sources(path)[0]


def is_count(value: float) -> bool:
    return 0 <= value <= 2**53 and value == math.floor(value)


@FEW
@given(st.lists(st.sampled_from(VALUES), max_size=40), st.sampled_from(["f8", "f4"]))
def test_fractions_and_what_is_no_number_are_told_from_counts(values: list[float], kind: str) -> None:
    with np.errstate(over="ignore"):
        data = np.array(values).astype(kind)
    assert all_counts(data) == all(is_count(float(value)) for value in data)


@FEW
@given(st.data(), st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]))
def test_whole_numbers_are_counts_up_to_what_a_float_tells_apart(data: st.DataObject, kind: str) -> None:
    limits = np.iinfo(kind)
    edges = [n for n in (0, -1, 2**53, 2**53 + 1, limits.min, limits.max) if limits.min <= n <= limits.max]
    values = data.draw(st.lists(st.sampled_from(edges), max_size=30))
    assert all_counts(np.array(values, kind)) == all(0 <= value <= 2**53 for value in values)


@FEW
@given(st.lists(st.lists(st.integers(-1, N_GENES), max_size=6), max_size=12), st.sampled_from(["i4", "u2", "i8"]))
def test_genes_outside_or_twice_in_a_cell_are_found(source: Source, cells: list[list[int]], kind: str) -> None:
    genes = np.array([gene for cell in cells for gene in cell], np.int64).astype(kind)
    indptr = np.cumsum([0, *map(len, cells)]).astype(np.int64)
    rows = Csr(np.ones(genes.size, np.float32), genes, indptr)
    is_fine = all(0 <= gene < N_GENES for cell in cells for gene in cell) and all(len(set(c)) == len(c) for c in cells)
    if is_fine:
        check_counts(source, 5, rows)
        return
    with pytest.raises(LivelatentError, match=r"lies outside 0\.\.8|names one gene twice") as caught:
        check_counts(source, 5, rows)
    assert str(source.path) in str(caught.value)
    if "twice" in str(caught.value):
        first = next(number for number, cell in enumerate(cells) if len(set(cell)) < len(cell))
        assert f"row {5 + first}," in str(caught.value) and f"cell {5 + first}," in str(caught.value)


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "u2", "u1"])
def test_sums_of_rows_are_numpys(kind: str) -> None:
    data = np.random.default_rng(0).integers(0, 200, 50).astype(kind)
    indptr = np.array([0, 0, 7, 7, 30, 50, 50])
    sums = row_sums(data, indptr)
    assert sums.tolist() == [float(data[a:b].sum(dtype=float)) for a, b in itertools.pairwise(indptr.tolist())]
