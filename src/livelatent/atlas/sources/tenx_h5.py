"""10x Genomics' `.h5`: genes x cells by column, which is cells x genes by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.sources.anndata_group import named_genes
from livelatent.atlas.sources.faults import Unfit, check_numbers
from livelatent.atlas.sources.fields import array_values, is_text, text_array
from livelatent.atlas.sources.fingerprints import fingerprint_of_files
from livelatent.atlas.sources.hdf5 import Hdf5File, check_safe
from livelatent.atlas.sources.matrices import CsrMatrix, is_array, is_group
from livelatent.atlas.sources.source import Csr, Matrix, Source
from livelatent.atlas.sources.tables import NamesOnly
from livelatent.errors import SourceError

GENES = "Gene Expression"
PARTS = ("barcodes", "data", "indices", "indptr", "shape")


@dataclass(frozen=True, kw_only=True)
class SomeColumns:
    """Some columns of a matrix: the genes among a cell's features."""

    matrix: CsrMatrix
    place: ndarray
    """For each column its place among those kept, or -1."""

    @property
    def where(self) -> str:
        """The matrix's."""
        return self.matrix.where

    @property
    def n_elements(self) -> int:
        """Those of all columns, a bound."""
        return self.matrix.n_elements

    @property
    def scratch_bytes(self) -> int:
        """None."""
        return 0

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        for start, rows in self.matrix.chunks(max_elements, first_row=first_row, scratch=scratch):
            indices = rows.indices.astype(np.int64, copy=False)
            if indices.size and (indices.min() < 0 or indices.max() >= self.place.size):
                raise SourceError(
                    f"{self.matrix.container.path}: a feature index of `{self.where}` in rows {start}.."
                    f"{start + rows.n_rows - 1} lies outside 0..{self.place.size - 1}. Get the file again."
                )
            indices = self.place[indices]
            kept = indices >= 0
            indptr = np.concatenate([[0], np.cumsum(kept)])[rows.indptr].astype(np.int64)
            yield start, Csr(data=rows.data[kept], indices=indices[kept], indptr=indptr)


def matrices_in(root: Any) -> list[str]:
    """The groups that hold a matrix of 10x's; several where version 2 of the format has several genomes."""
    found = [name for name in root if is_group(root[name]) and all(part in root[name] for part in PARTS)]
    named = {name: ("features",) if name == "matrix" else ("genes", "gene_names") for name in found}
    return [name for name in found if all(part in root[name] for part in named[name])]


def open_tenx_h5(path: Path, *, counts: str, gene_names: str | None, name: str) -> list[Source]:
    """The one source that a 10x `.h5` is; `counts` names the genome where there are several."""
    container = Hdf5File(path)
    with container.opened() as root:
        check_safe(path, root)
        found = matrices_in(root)
        if counts == "X" and len(found) == 1:
            counts = found[0]
        if counts not in found:
            raise SourceError(
                f"{path} is a 10x file with {'the matrices' if len(found) > 1 else 'one matrix,'} "
                f"{', '.join(repr(each) for each in found)}: set `counts` to one of them"
                f"{'' if counts == 'X' else f'; it has no {counts!r}'}."
            )
        group = root[counts]
        try:
            var, kinds = features_in(group)
            matrix = matrix_in(container, group, counts)
            n_barcodes = int(group["barcodes"].shape[0])
            if not is_text(group["barcodes"]):
                raise Unfit(f"has barcodes of {group['barcodes'].dtype}")
        except (Unfit, KeyError, TypeError, ValueError, IndexError) as error:
            wanted = error.error if isinstance(error, Unfit) else SourceError
            raise wanted(f"{path}: `{counts}` {error}. Get the file again, or export it with Cell Ranger.") from error
        if (matrix.n_rows, matrix.n_columns) != (n_barcodes, len(var)):
            raise SourceError(
                f"{path}: `{counts}` is {matrix.n_columns} x {matrix.n_rows}, but there are {len(var)} features and "
                f"{n_barcodes} barcodes. The file is damaged; get it again."
            )
        kept = np.flatnonzero(kinds == GENES)
        if not (matrix.n_rows and kept.size):
            raise SourceError(
                f"{path}: `{counts}` has {matrix.n_rows} cells and {kept.size} features of the type {GENES!r} among "
                f"{len(var)} (types: {', '.join(sorted(set(kinds))) or 'none'}), so there is nothing to ingest."
            )
        var = var.iloc[kept].reset_index(drop=True)
        genes, var = named_genes(path, counts, var.pop("name"), var, gene_names)
        return [
            Source(
                path=path,
                name=name,
                kind="10x h5",
                genes=genes,
                var=var,
                obs=NamesOnly(container, f"{counts}/barcodes", n_barcodes),
                counts=some_columns(matrix, kept),
                layers={},
                obsm={},
                left=(
                    *features_left(kinds),
                    *(other for other in found if other != counts),
                ),
                elsewhere=", ".join(f'"{other}"' for other in found if other != counts),
                fingerprint=fingerprint_of_files([path], path.parent),
            )
        ]


def some_columns(matrix: CsrMatrix, kept: ndarray) -> Matrix:
    """The matrix with the columns kept only."""
    if kept.size == matrix.n_columns:
        return matrix
    place = np.full(matrix.n_columns, -1, np.int32)
    place[kept] = np.arange(kept.size)
    return SomeColumns(matrix=matrix, place=place)


def features_left(kinds: ndarray) -> list[str]:
    """Features that are no genes, in words."""
    return [f"{int((kinds == kind).sum())} features of the type {kind}" for kind in sorted({*kinds} - {GENES})]


def features_in(group: Any) -> tuple[pd.DataFrame, ndarray]:
    """Gene columns (`gene_ids`, `name`, ...) and the type of each feature; all genes in version 2."""
    if "features" not in group:
        n_features = int(group["genes"].shape[0])
        ids, names = (text_array(group[part], n_features) for part in ("genes", "gene_names"))
        return pd.DataFrame({"gene_ids": ids, "name": names}), np.full(n_features, GENES, dtype=object)
    features = group["features"]
    n_features = int(features["id"].shape[0])
    columns = {"gene_ids": text_array(features["id"], n_features), "name": text_array(features["name"], n_features)}
    kinds = text_array(features["feature_type"], n_features)
    for name in features:
        array = features[name]
        known = name in ("id", "name", "feature_type", "_all_tag_keys")
        if not known and is_array(array) and tuple(array.shape) == (n_features,):
            columns[name] = array_values(array, n_features)
    columns["feature_types"] = kinds
    return pd.DataFrame(columns), kinds


def matrix_in(container: Hdf5File, group: Any, where: str) -> CsrMatrix:
    """The matrix, cells as rows; its arrays are as long as they must be."""
    n_columns, n_rows = (int(n) for n in group["shape"][:2])
    for part in ("data", "indices", "indptr"):
        array: Any = group[part]
        if not is_array(array) or len(array.shape) != 1 or (part != "data" and array.dtype.kind not in "iu"):
            raise Unfit(f"has no list of {'numbers' if part == 'data' else 'integers'} `{part}`")
    check_numbers(group["data"].dtype)
    n_elements = int(group["data"].shape[0])
    if group["indptr"].shape[0] != n_rows + 1 or group["indices"].shape[0] != n_elements or not 0 < n_columns < 2**31:
        raise Unfit(
            f"is damaged: for {n_rows} cells it has {group['indptr'].shape[0]} pointers, "
            f"{group['indices'].shape[0]} indices and {n_elements} values"
        )
    return CsrMatrix(container=container, where=where, n_rows=n_rows, n_columns=n_columns, n_elements=n_elements)
