"""An AnnData in an HDF5 file or a Zarr group as a source; the same code for both."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from livelatent.atlas.elements import read_element
from livelatent.atlas.layout import text_index
from livelatent.atlas.sources.csc import CscMatrix
from livelatent.atlas.sources.faults import WAY_OUT, Unfit, check_names, check_numbers
from livelatent.atlas.sources.matrices import (
    Container,
    CsrMatrix,
    DenseMatrix,
    DenseRows,
    encoding,
    is_array,
    is_group,
    sparse_format,
    sparse_shape,
)
from livelatent.atlas.sources.source import Fingerprint, Matrix, Rows, Source
from livelatent.atlas.sources.tables import AnnDataTable, table_at
from livelatent.errors import GeneMismatchError, SourceError


def anndata_source(
    container: Container,
    root: Any,
    *,
    name: str,
    kind: str,
    counts: str,
    gene_names: str | None,
    fingerprint: Fingerprint,
) -> Source:
    """Describe the AnnData whose root group is open; nothing that grows with its cells is read."""
    path = container.path
    obs, left = table_at(container, root, "obs")
    where = place_of(root, counts)
    others = other_places(root, where)
    if where not in root:
        raise SourceError(f"{path} has no matrix `{where}`. It has: {others or 'none'}. Set `counts` to one.")
    in_raw = counts == "raw"
    genes_at = "var" if not in_raw else "raw/var" if where == "raw/X" else "raw.var"
    table, var_left = table_at(container, root, genes_at)
    try:
        matrix = matrix_at(container, root, where, fingerprint.sha256)
    except Unfit as error:
        raise error.error(f"{path}: `{where}` {error}. {WAY_OUT}{elsewhere_hint(others)}") from error
    check_plausible(path, fingerprint.size, obs.n_rows, table.n_rows)
    shape = (matrix.n_rows, matrix.n_columns)
    if shape != (obs.n_rows, table.n_rows):
        raise SourceError(
            f"{path}: `{where}` is {shape[0]} x {shape[1]}, but obs has {obs.n_rows} rows and {genes_at} "
            f"{table.n_rows}. The file is damaged; get it again."
        )
    if 0 in shape:
        raise SourceError(f"{path}: `{where}` is {shape[0]} cells x {shape[1]} genes, so there is nothing to ingest.")
    genes, var = named_genes(path, genes_at, pd.Series(table.names()), table.frame(), gene_names)
    other_genes = in_raw and not same_names(container, root, table)
    layers, layers_left = layers_of(container, root, where, shape, other_genes, fingerprint.sha256)
    obsm, obsm_left = obsm_of(container, root, obs.n_rows)
    return Source(
        path=path,
        name=name,
        kind=kind,
        genes=genes,
        var=var,
        obs=obs,
        counts=matrix,
        layers=layers,
        obsm=obsm,
        left=(*left, *var_left, *layers_left, *obsm_left, *others_left(root, in_raw)),
        elsewhere=others,
        fingerprint=fingerprint,
        livelatent=own_facts(root),
    )


def check_plausible(path: Path, size: int, n_cells: int, n_genes: int) -> None:
    """Raise for more names than the bytes of the source could spell: a few bytes can claim any shape."""
    if n_cells + n_genes > 100 * size:
        raise SourceError(
            f"{path} claims {n_cells} cells and {n_genes} genes in {size} bytes. It is damaged; get it again."
        )


def place_of(root: Any, counts: str) -> str:
    """Where the counts asked for lie."""
    if counts == "X":
        return "X"
    if counts == "raw":
        return "raw.X" if "raw.X" in root and "raw" not in root else "raw/X"
    return f"layers/{counts}"


def other_places(root: Any, chosen: str) -> str:
    """Where else in the file a matrix lies, in words for a message."""
    layers = root["layers"] if "layers" in root and is_group(root["layers"]) else {}
    places = [f'"{name}"' for name in layers if f"layers/{name}" != chosen]
    if ("raw/X" in root or "raw.X" in root) and chosen not in ("raw/X", "raw.X"):
        places.insert(0, '"raw"')
    if "X" in root and chosen != "X":
        places.insert(0, '"X"')
    return ", ".join(places)


def elsewhere_hint(others: str) -> str:
    """The other matrices of the file, as the end of a message."""
    return f" The file also has {others}: `counts` names the one to take." if others else ""


def matrix_at(container: Container, root: Any, where: str, stamp: str) -> CsrMatrix | DenseMatrix | CscMatrix:
    """The matrix at a place.

    Raises
    ------
    Unfit
        If it is none that can be read row by row.
    """
    item = root[where]
    if is_array(item):
        if len(item.shape) != 2:
            raise Unfit(f"has {len(item.shape)} axes, a matrix has 2")
        check_numbers(item.dtype)
        if encoding(item) not in ("array", ""):
            raise Unfit(f"is of the kind {encoding(item)}")
        n_rows, n_columns = (int(n) for n in item.shape)
        return DenseMatrix(container=container, where=where, n_rows=n_rows, n_columns=n_columns)
    kind = sparse_format(item)
    if kind not in ("csr", "csc"):
        raise Unfit(f"is neither a dense nor a sparse matrix ({kind})")
    n_rows, n_columns = sparse_shape(item)
    n_elements = int(item["data"].shape[0])
    if kind == "csr":
        return CsrMatrix(container=container, where=where, n_rows=n_rows, n_columns=n_columns, n_elements=n_elements)
    return CscMatrix(
        container=container, where=where, n_rows=n_rows, n_columns=n_columns, n_elements=n_elements, stamp=stamp
    )


def named_genes(
    path: Path, where: str, names: "pd.Series[Any]", var: pd.DataFrame, column: str | None
) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Gene names and var under them; a column may name them instead, the names are then kept as one."""
    if column is not None:
        if column not in var.columns:
            raise GeneMismatchError(
                f"{path} has no column {column!r} in `{where}` to name its genes by. It has: "
                f"{', '.join(map(str, var.columns)) or 'none'}; without `gene_names` they are "
                f"{', '.join(map(str, names[:3]))}, ..."
            )
        kept = "index_original"
        while kept in var.columns:
            kept += "_"
        var.insert(0, kept, names)
        names = var.pop(column)
    genes = checked_genes(path, names, f"column {column!r}" if column else "the index", where)
    return genes, var.set_axis(text_index(genes), axis=0)


def checked_genes(path: Path, names: "pd.Series[Any]", of: str, where: str) -> tuple[str, ...]:
    """The names as text; they may be repeated, but none may be missing."""
    text = ["" if missing else str(name) for name, missing in zip(names.astype(object), names.isna(), strict=True)]
    nameless = [i for i, name in enumerate(text) if not name]
    if nameless:
        raise GeneMismatchError(
            f"{path}: {len(nameless)} genes have no name in {of} of `{where}` (first: row {nameless[0]}). Name them "
            "in `adata.var_names` and write the file again."
        )
    return tuple(text)


def same_names(container: Container, root: Any, genes: AnnDataTable) -> bool:
    """Whether var, which is the layers', names the genes of raw."""
    try:
        var, _ = table_at(container, root, "var")
        return var.n_rows == genes.n_rows and bool((var.names() == genes.names()).all())
    except SourceError:
        return False


def layers_of(
    container: Container, root: Any, where: str, shape: tuple[int, int], other_genes: bool, stamp: str
) -> tuple[dict[str, Matrix], list[str]]:
    """Matrices of the counts' cells and genes, and in words those of others."""
    found: dict[str, Matrix] = {}
    left = []
    layers = root["layers"] if "layers" in root and is_group(root["layers"]) else {}
    check_names(container.path, "layers", layers)
    for name in layers:
        place = f"layers/{name}"
        if place == where:
            continue
        if other_genes:
            left.append(f"{place} (its genes are var's, the counts' are raw's)")
            continue
        try:
            matrix = matrix_at(container, root, place, stamp)
            if (matrix.n_rows, matrix.n_columns) != shape:
                raise Unfit(f"is {matrix.n_rows} x {matrix.n_columns}")
            found[name] = matrix
        except Unfit as error:
            left.append(f"{place} ({error})")
    return found, left


def obsm_of(container: Container, root: Any, n_cells: int) -> tuple[dict[str, Rows], list[str]]:
    """Dense arrays with a row for each cell, and in words all others."""
    found: dict[str, Rows] = {}
    left = []
    arrays = root["obsm"] if "obsm" in root else {}
    if is_array(arrays):
        return {}, ["obsm (an array of records, as anndata 0.6 wrote it)"]
    check_names(container.path, "obsm", arrays)
    for name in arrays:
        item = arrays[name]
        if not is_array(item):
            left.append(f"obsm/{name} ({str(item.attrs.get('encoding-type', 'a group'))[:50]})")
        elif len(item.shape) != 2 or item.shape[0] != n_cells or item.shape[1] == 0:
            left.append(f"obsm/{name} (of shape {' x '.join(map(str, item.shape))})")
        elif item.dtype.kind not in "fiub" or item.dtype.itemsize > 8:
            left.append(f"obsm/{name} (of {item.dtype})")
        else:
            found[name] = DenseRows(
                container=container,
                where=f"obsm/{name}",
                n_rows=n_cells,
                n_columns=int(item.shape[1]),
                dtype=np.dtype(item.dtype).newbyteorder("="),
            )
    return found, left


def others_left(root: Any, in_raw: bool) -> list[str]:
    """What else is in the file and stays there."""
    left = []
    if in_raw and "X" in root:
        left.append("X (the counts are raw's)")
    if not in_raw:
        left += [name for name in ("raw/X", "raw.X") if name in root]
    for group in ("obsp", "varm", "varp", "uns"):
        if group in root and is_group(root[group]):
            left += [f"{group}/{name}" for name in root[group] if (group, name) != ("uns", "livelatent")]
        elif group in root:
            left.append(group)
    return left


def own_facts(root: Any) -> dict[str, Any] | None:
    """`uns["livelatent"]` where it can be read."""
    if "uns/livelatent" not in root:
        return None
    with contextlib.suppress(KeyError, OSError, ValueError, TypeError):
        facts = read_element(root["uns/livelatent"])
        return facts if isinstance(facts, dict) and facts else None
    return None
