"""Source files, read chunk by chunk; nothing in them is trusted before it was checked."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from livelatent.atlas.elements import is_storable, read_element
from livelatent.errors import CountsError, GeneMismatchError, LivelatentError, NoPermissionError, SourceError
from livelatent.paths import local_path

WAY_OUT = "Open it in anndata and write it again (`adata.write_h5ad(...)`)."


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a source was when it was read: enough to notice that it has changed since."""

    size: int
    mtime_ns: int
    sha256: str
    """Hash of the first, middle and last MiB."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file on disk and everything about it but the matrix."""

    path: Path
    name: str
    """The file's name, with as much of its folder as tells it from the other sources."""
    counts: str
    """Where the matrix is: `X`, `raw/X` or `layers/NAME`."""
    genes: tuple[str, ...]
    obs: pd.DataFrame
    var: pd.DataFrame
    obsm: dict[str, Any]
    n_elements: int
    """Stored values; for a dense matrix all of them."""
    elsewhere: str
    """The other places of this file where counts might be, for error messages."""
    fingerprint: Fingerprint
    livelatent: dict[str, Any] | None
    """`uns["livelatent"]` where the source is a store's export."""

    @property
    def n_cells(self) -> int:
        """Rows of the matrix."""
        return len(self.obs)


def fingerprint(path: Path) -> Fingerprint:
    """Size, time and sampled hash of the file as it is now."""
    status = path.stat()
    digest = hashlib.sha256(str(status.st_size).encode())
    with open(path, "rb") as file:
        for start in (0, status.st_size // 2, max(0, status.st_size - 2**20)):
            file.seek(start)
            digest.update(file.read(2**20))
    return Fingerprint(size=status.st_size, mtime_ns=status.st_mtime_ns, sha256=digest.hexdigest())


def open_source(path: str | os.PathLike[str], *, counts: str = "X", name: str | None = None) -> Source:
    """Read everything but the matrix of one `.h5ad`.

    Parameters
    ----------
    counts
        `"X"`, `"raw"`, or a layer's name.

    Raises
    ------
    SourceError
        If the file is absent, truncated, no AnnData, or holds its matrix in a form we can't stream.
    GeneMismatchError
        If gene names are missing or duplicated.
    CountsError
        If the matrix holds no numbers.
    """
    path = local_path(path, SourceError)
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path, seen from {Path.cwd()}.")
    if path.is_dir():
        raise SourceError(
            f"{path} is a folder; sources are .h5ad files for now. Write it as one "
            "(`anndata.read_zarr(...).write_h5ad(...)`)."
        )
    with opened(path) as file:
        for part in ("obs", "var"):
            if part not in file or not isinstance(file[part], h5py.Group):
                raise SourceError(f"{path} is no AnnData file: it has no group `{part}`. {WAY_OUT}")
        where = counts if counts == "X" else "raw/X" if counts == "raw" else f"layers/{counts}"
        others = other_places(file, where)
        if where not in file:
            raise SourceError(f"{path} has no matrix `{where}`. It has: {others or 'none'}. Set `counts` to one.")
        obs, var = read_frame(path, file, "obs"), read_frame(path, file, "raw/var" if counts == "raw" else "var")
        shape, n_elements = matrix_shape(path, file[where], where)
        if shape != (len(obs), len(var)):
            raise SourceError(
                f"{path}: `{where}` is {shape[0]} x {shape[1]}, but obs has {len(obs)} rows and var {len(var)}. "
                "The file is damaged; get it again."
            )
        if 0 in shape:
            raise SourceError(
                f"{path}: `{where}` is {shape[0]} cells x {shape[1]} genes, so there is nothing to ingest."
            )
        obsm = small_obsm(file, len(obs))
        check_names(path, {"obs": obs.columns, "var": var.columns, "obsm": obsm})
        facts: dict[str, Any] = {}
        with contextlib.suppress(KeyError, OSError, ValueError):
            facts = read_element(file["uns/livelatent"])
        return Source(
            path=path,
            name=name or path.name,
            counts=where,
            genes=gene_names(path, var),
            obs=obs,
            var=var,
            obsm=obsm,
            n_elements=n_elements,
            elsewhere=others,
            fingerprint=fingerprint(path),
            livelatent=facts or None,
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as h5py sees it; whatever breaks while reading names the file."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (LivelatentError, MemoryError):
        raise
    except Exception as error:  # h5py and numpy raise whatever a broken file leads them to
        if not path.exists():
            raise SourceError(f"{path} is gone: it was changed while it was read.") from error
        if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
            raise NoPermissionError(
                f"{path} can't be read: no permission. Ask its owner for it, or copy it."
            ) from error
        if not h5py.is_hdf5(path):
            raise SourceError(f"{path} is no .h5ad (HDF5) file, or its start is damaged. {WAY_OUT}") from error
        raise SourceError(f"{path} is truncated or damaged ({error}). Download or copy it again.") from error


def other_places(file: Any, chosen: str) -> str:
    """Where else in the file a matrix lies, in words for a message."""
    places = [f'"{name}"' for name in file.get("layers", {}) if f"layers/{name}" != chosen]
    if "raw/X" in file and chosen != "raw/X":
        places.insert(0, '"raw"')
    if "X" in file and chosen != "X":
        places.insert(0, '"X"')
    return ", ".join(places)


def read_frame(path: Path, file: Any, where: str) -> pd.DataFrame:
    """Obs or var; any fault in it is the source's."""
    try:
        frame = read_element(file[where])
        if not isinstance(frame, pd.DataFrame):
            raise TypeError("it is no table")
        return with_text(frame)
    except Exception as error:  # anndata raises whatever its parts raise
        raise SourceError(f"{path}: `{where}` can't be read ({error}). {WAY_OUT}") from error


def with_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text where older writers left bytes: `str` would make `b'T cell'` of them."""
    frame = frame.set_axis(text_of_bytes(frame.index), axis=0)
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            kinds = text_of_bytes(column.cat.categories)
            frame[name] = pd.Categorical.from_codes(column.cat.codes, categories=kinds, ordered=column.cat.ordered)
        elif column.dtype == object:
            frame[name] = text_of_bytes(pd.Index(column, dtype=object)).to_numpy()
    return frame


def text_of_bytes(values: "pd.Index[Any]") -> "pd.Index[Any]":
    """Bytes as UTF-8 text, all else as it is."""
    if pd.api.types.infer_dtype(values, skipna=True) not in ("bytes", "mixed"):
        return values
    return pd.Index([v.decode() if isinstance(v, bytes) else v for v in values], dtype=object)


def check_names(path: Path, names: Mapping[str, Iterable[Any]]) -> None:
    """Raise for a column or array that a store could not hold under its name."""
    for where, found in names.items():
        for name in found:
            if not is_storable(str(name)):
                raise SourceError(
                    f"{path}: `{where}` has an element named {str(name)[:80]!r}, which Zarr can't store (no slash, at "
                    "most 255 bytes, none of its own names). Rename it and write the file again."
                )


def small_obsm(file: Any, n_cells: int) -> dict[str, Any]:
    """Dense arrays of at most 100 columns per cell; larger ones are left behind."""
    found: dict[str, Any] = {}
    for name, item in file.get("obsm", {}).items():
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.shape[0] == n_cells and item.shape[1] <= 100:
            found[name] = item[:]
    return found


def gene_names(path: Path, var: pd.DataFrame) -> tuple[str, ...]:
    """Gene names, none missing, none twice."""
    missing = np.flatnonzero(var.index.isna() | (var.index.astype(str) == ""))
    if missing.size:
        raise GeneMismatchError(
            f"{path}: {missing.size} genes have no name (first: row {missing[0]} of var). "
            "Name them in `adata.var_names` and write the file again."
        )
    names = pd.Index([str(name) for name in var.index], dtype=object)
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        raise GeneMismatchError(
            f"{path}: {len(twice)} gene names stand for more than one gene (first: {', '.join(twice[:3])}). "
            "Call `adata.var_names_make_unique()`, or use the gene ids as names, and write the file again."
        )
    return tuple(names)


def matrix_shape(path: Path, matrix: Any, where: str) -> tuple[tuple[int, int], int]:
    """Cells x genes and stored values of a CSR or dense matrix."""
    if isinstance(matrix, h5py.Dataset):
        if matrix.ndim != 2:
            raise SourceError(f"{path}: `{where}` has {matrix.ndim} axes, a matrix has 2. {WAY_OUT}")
        check_numbers(path, matrix, where)
        return (int(matrix.shape[0]), int(matrix.shape[1])), int(matrix.size)
    kind = matrix.attrs.get("encoding-type", "")
    if kind == "csc_matrix":
        raise SourceError(
            f"{path}: `{where}` is stored by gene (CSC), so that cells can't be read one after another. Convert it "
            "where memory allows: `adata.X = adata.X.tocsr()`, then `adata.write_h5ad(...)`."
        )
    if kind != "csr_matrix" or any(part not in matrix for part in ("data", "indices", "indptr")):
        raise SourceError(f"{path}: `{where}` is neither a dense nor a CSR matrix ({kind or 'unmarked'}). {WAY_OUT}")
    for part, kinds in (("data", ""), ("indices", "iu"), ("indptr", "iu")):
        array = matrix[part]
        if not isinstance(array, h5py.Dataset) or array.ndim != 1 or (kinds and array.dtype.kind not in kinds):
            raise SourceError(f"{path}: `{where}/{part}` is no list of {'integers' if kinds else 'numbers'}. {WAY_OUT}")
    check_numbers(path, matrix["data"], where)
    n_cells, n_genes = (int(n) for n in matrix.attrs["shape"])
    return (n_cells, n_genes), int(matrix["data"].shape[0])


def check_numbers(path: Path, values: Any, where: str) -> None:
    """Raise where the matrix holds text, complex numbers or references."""
    if values.dtype.kind not in "fiub":
        raise CountsError(
            f"{path}: `{where}` holds {values.dtype}, counts are numbers. Set `counts` to where they are."
        )


def read_indptr(source: Source, matrix: Any) -> np.ndarray[Any, Any]:
    """Row pointers, checked: they start at 0, never fall, and end at the number of stored values."""
    indptr = np.asarray(matrix["indptr"][:]).astype(np.int64)
    n_values = int(matrix["data"].shape[0])
    sound = (
        indptr.size == source.n_cells + 1
        and indptr[0] == 0
        and indptr[-1] == n_values
        and int(matrix["indices"].shape[0]) == n_values
        and bool((np.diff(indptr) >= 0).all())
    )
    if not sound:
        raise SourceError(
            f"{source.path}: the row pointers of `{source.counts}` are damaged (they must rise from 0 to "
            f"{n_values} over {source.n_cells} cells). Get the file again."
        )
    longest = int(np.diff(indptr).max(initial=0))
    if longest > len(source.genes):
        raise SourceError(
            f"{source.path}: a cell of `{source.counts}` has {longest} values, but there are {len(source.genes)} "
            "genes. The file is damaged; get it again."
        )
    return indptr


def read_chunks(source: Source, max_elements: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """The matrix as (first row, CSR chunk), each of at most `max_elements` values, but one row at least."""
    with opened(source.path) as file:
        matrix = file[source.counts]
        n_genes = len(source.genes)
        if isinstance(matrix, h5py.Dataset):
            rows = max(1, max_elements // max(n_genes, 1))
            for start in range(0, source.n_cells, rows):
                yield start, sparse.csr_matrix(single_precision(matrix[start : start + rows]))
            return
        indptr = read_indptr(source, matrix)
        start = 0
        while start < source.n_cells:
            stop = int(np.searchsorted(indptr, indptr[start] + max_elements, side="right")) - 1
            stop = min(max(stop, start + 1), source.n_cells)
            first, last = int(indptr[start]), int(indptr[stop])
            indices = matrix["indices"][first:last]
            if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= n_genes):
                raise SourceError(
                    f"{source.path}: a gene index of `{source.counts}` in rows {start}..{stop - 1} lies outside "
                    f"0..{n_genes - 1}. The file is damaged; get it again."
                )
            pointers = indptr[start : stop + 1] - first
            chunk = sparse.csr_matrix(
                (single_precision(matrix["data"][first:last]), indices.astype(np.int32), pointers),
                shape=(stop - start, n_genes),
            )
            yield start, chunk
            start = stop


def single_precision(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Half-precision values as float32, since scipy has no sparse matrix of them."""
    return values.astype(np.float32) if values.dtype == np.float16 else values
