"""Simulated cells as an `.h5ad`, as anndata would have written it, chunk by chunk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from livelatent.atlas.elements import plain_frame, write_element
from livelatent.atomic import fresh_file

CHUNK_VALUES = 2**15
"""128 kB, about what h5py picks for anndata at 10**8 values; fixed, so that equal atlases are equal files."""


def write_h5ad(
    path: Path,
    matrix: Iterator[sparse.csr_matrix],
    obs: Callable[[], pd.DataFrame],
    var: pd.DataFrame,
    compression: Literal["gzip"] | None,
    report: Callable[[int], None],
) -> None:
    """Write consecutive rows as a CSR matrix of float32, then the tables; `report` takes the rows done."""
    with fresh_file(path) as aside, h5py.File(aside, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        lengths = [np.zeros(1, np.int64)]
        grow: dict[str, Any] = {"shape": (0,), "maxshape": (None,), "chunks": (CHUNK_VALUES,)}
        data = group.create_dataset("data", dtype="float32", compression=compression, **grow)
        indices = group.create_dataset("indices", dtype="int32", compression=compression, **grow)
        n_rows = n_values = 0
        for part in matrix:
            for array, values in ((data, part.data), (indices, part.indices)):
                array.resize((n_values + part.nnz,))
                array[n_values:] = values
            lengths.append(np.diff(part.indptr))
            n_rows, n_values = n_rows + part.shape[0], n_values + part.nnz
            report(n_rows)
        group.create_dataset("indptr", data=np.cumsum(np.concatenate(lengths)), compression=compression)
        group.attrs["shape"] = np.array([n_rows, len(var)])
        write_element(file, "obs", plain_frame(obs()))
        write_element(file, "var", plain_frame(var))
