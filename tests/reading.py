"""Sources read whole, for comparison with what wrote them."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from livelatent.atlas.sources.source import Matrix, Source


def whole(
    matrix: Matrix, n_columns: int, scratch: Path, max_elements: int = 10_000, first_row: int = 0
) -> sparse.csr_matrix:
    """All of a matrix from a row on; each of its chunks is as the contract has it."""
    found, next_row = [], first_row
    for start, rows in matrix.chunks(max_elements, first_row=first_row, scratch=scratch):
        assert start == next_row and rows.n_rows > 0
        assert rows.n_rows == 1 or rows.data.size <= max_elements
        assert rows.indptr.dtype == np.int64 and rows.indptr[0] == 0 and rows.indptr[-1] == rows.data.size
        assert rows.indices.dtype in (np.uint16, np.int32, np.int64) and rows.indices.size == rows.data.size
        assert rows.data.dtype.isnative and rows.data.dtype.kind in "iuf"
        indices = rows.indices.astype(np.int64)
        found.append(sparse.csr_matrix((rows.data, indices, rows.indptr), shape=(rows.n_rows, n_columns)))
        next_row += rows.n_rows
    return sparse.vstack(found, format="csr") if found else sparse.csr_matrix((0, n_columns))


def table(source: Source) -> pd.DataFrame:
    """Obs, column by column."""
    return pd.DataFrame(
        {name: source.obs.column(name).to_numpy() for name in source.obs.columns},
        index=pd.Index(source.obs.names(), dtype=object),
    )


def as_objects(frame: pd.DataFrame) -> list[list[object]]:
    """Values as plain objects, missing ones None, so that storage types do not matter."""
    return [[None if pd.isna(value) else value for value in frame[name].astype(object)] for name in frame]


def assert_equal(source: Source, wanted: anndata.AnnData, scratch: Path, counts: object = None) -> None:
    """The source is the AnnData, cell by cell."""
    values = wanted.X if counts is None else counts
    dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
    got = whole(source.counts, len(source.genes), scratch)
    assert got.shape == dense.shape and (got.toarray() == dense).all()
    assert source.obs.names().tolist() == [str(name) for name in wanted.obs_names]
    found = table(source)
    assert found.columns.tolist() == wanted.obs.columns.tolist()
    assert as_objects(found) == as_objects(wanted.obs)
