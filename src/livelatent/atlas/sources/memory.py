"""An AnnData that is in memory already, as a source."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy import sparse

from livelatent.atlas.sources.anndata_group import named_genes
from livelatent.atlas.sources.faults import Unfit, check_names, check_numbers
from livelatent.atlas.sources.matrices import pieces, plain_indices, plain_values
from livelatent.atlas.sources.source import Csr, Fingerprint, Matrix, Rows, Source
from livelatent.errors import ColumnError, SourceError


@dataclass(frozen=True)
class MemoryMatrix:
    """A matrix in memory; one stored by gene is turned by scipy, in memory too."""

    values: Any
    where: str
    scratch_bytes: int = 0

    @property
    def n_elements(self) -> int:
        """Stored values; of a dense matrix all."""
        return int(self.values.nnz if is_sparse(self.values) else self.values.size)

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        if not is_sparse(self.values):
            n_rows = max(1, max_elements // max(self.values.shape[1], 1))
            for start in range(first_row, self.values.shape[0], n_rows):
                block = sparse.csr_matrix(plain_values(np.asarray(self.values[start : start + n_rows])))
                yield start, Csr(block.data, block.indices, block.indptr.astype(np.int64))
            return
        csr = self.values.tocsr()
        pointers = csr.indptr[first_row:].astype(np.int64)
        for start, stop in pieces(pointers, max_elements):
            first, last = int(pointers[start]), int(pointers[stop])
            yield (
                first_row + start,
                Csr(
                    data=plain_values(csr.data[first:last]),
                    indices=plain_indices(csr.indices[first:last]),
                    indptr=pointers[start : stop + 1] - first,
                ),
            )


@dataclass(frozen=True)
class MemoryRows:
    """One dense vector per cell."""

    values: ndarray

    @property
    def n_columns(self) -> int:
        """Numbers per cell."""
        return int(self.values.shape[1])

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Their type, in the machine's byte order."""
        return self.values.dtype.newbyteorder("=")

    def chunks(self, max_elements: int) -> Iterator[tuple[int, ndarray]]:
        """(First row, rows), as `Rows` has it."""
        n_rows = max(1, max_elements // self.n_columns)
        for start in range(0, self.values.shape[0], n_rows):
            yield start, self.values[start : start + n_rows].astype(self.dtype, copy=False)


@dataclass(frozen=True)
class MemoryTable:
    """Obs as it is."""

    frame: pd.DataFrame

    @property
    def n_rows(self) -> int:
        """Cells."""
        return len(self.frame)

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(self.frame.columns)

    def names(self) -> ndarray:
        """The index as text."""
        return np.array([str(name) for name in self.frame.index], dtype=object)

    def column(self, name: str) -> "pd.Series[Any]":
        """One column under a plain index."""
        if name not in self.columns:
            raise ColumnError(f"the AnnData has no column {name!r} in `obs`.")
        return self.frame[name].reset_index(drop=True)


def name_of(adata: Any) -> str:
    """What an AnnData is called where cells need an identity that lasts: a hash of its obs names."""
    return f"memory-{hashlib.sha256(obs_names(adata)).hexdigest()[:8]}"


def obs_names(adata: Any) -> bytes:
    """The names of the cells."""
    return "\n".join(map(str, adata.obs_names)).encode()


def open_adata(adata: Any, *, counts: str, gene_names: str | None, name: str | None) -> Source:
    """An AnnData in memory as a source.

    Raises
    ------
    SourceError
        If it has no such matrix, or one that is not in memory (backed, or lazy).
    """
    name = name or name_of(adata)
    path = Path(name)
    # anndata 0.13 has X among its layers, under the name None.
    in_layers = {key: value for key, value in adata.layers.items() if key is not None}
    places = {"X": adata.X, **{f"layers/{key}": value for key, value in in_layers.items()}}
    if adata.raw is not None:
        places["raw/X"] = adata.raw.X
    where = counts if counts == "X" else "raw/X" if counts == "raw" else f"layers/{counts}"
    others = ", ".join(f'"{each.removeprefix("layers/").removesuffix("/X")}"' for each in places if each != where)
    if places.get(where) is None:
        raise SourceError(f"{path} has no matrix `{where}`. It has: {others or 'none'}. Set `counts` to one.")
    check_names(path, "obs", adata.obs.columns)
    check_names(path, "obsm", adata.obsm)
    check_names(path, "layers", in_layers)
    try:
        matrix = matrix_of(places[where], where)
    except Unfit as error:
        raise error.error(f"{path}: `{where}` {error}. Load it (`adata.to_memory()`).") from error
    table = adata.raw.var if counts == "raw" else adata.var
    names = pd.Series([str(gene) for gene in table.index], dtype=object)
    genes, var = named_genes(path, "var", names, table.reset_index(drop=True), gene_names)
    if 0 in places[where].shape:
        raise SourceError(f"{path}: `{where}` is {' x '.join(map(str, places[where].shape))}: nothing to ingest.")
    layers: dict[str, Matrix] = {}
    left = []
    for key, value in in_layers.items():
        try:
            if counts == "raw" and tuple(adata.var_names) != tuple(table.index):
                raise Unfit("its genes are var's, the counts' are raw's")
            if key != counts:
                layers[str(key)] = matrix_of(value, f"layers/{key}")
        except Unfit as error:
            left.append(f"layers/{key} ({error})")
    obsm: dict[str, Rows] = {key: MemoryRows(value) for key, value in adata.obsm.items() if is_rows(value)}
    left += [f"obsm/{key}" for key in adata.obsm if key not in obsm]
    left += [f"{group}/{key}" for group in ("obsp", "varm", "varp", "uns") for key in getattr(adata, group)]
    return Source(
        path=path,
        name=name,
        kind="memory",
        genes=genes,
        var=var,
        obs=MemoryTable(adata.obs),
        counts=matrix,
        layers=layers,
        obsm=obsm,
        left=tuple(left),
        elsewhere=others,
        fingerprint=fingerprint_of_memory(adata, places[where]),
    )


def matrix_of(values: Any, where: str) -> Matrix:
    """A matrix in memory."""
    if not (isinstance(values, np.ndarray) or is_sparse(values)):
        raise Unfit(f"is not in memory ({type(values).__name__})")
    check_numbers(values.dtype)
    return MemoryMatrix(values, where)


def is_sparse(values: Any) -> bool:
    """Whether scipy holds it by row or by column."""
    return sparse.issparse(values) and getattr(values, "format", "") in ("csr", "csc")


def is_rows(value: Any) -> bool:
    """Whether an obsm array can be carried."""
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] > 0 and value.dtype.kind in "fiub"


def fingerprint_of_memory(adata: Any, values: Any) -> Fingerprint:
    """Of the names of the cells and of all counts and layers: memory has no time of change to tell by."""
    digest, size = hashlib.sha256(obs_names(adata)), 0
    for matrix in (values, *adata.layers.values()):
        parts = (matrix.data, matrix.indices, matrix.indptr) if is_sparse(matrix) else (matrix,)
        for part in parts:
            data = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            digest.update(memoryview(data))
            size += data.nbytes
    return Fingerprint(size=size, mtime_ns=0, sha256=digest.hexdigest())
