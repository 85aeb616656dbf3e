"""What a store holds beside its matrices: obs, var, obsm and the facts, each written as it is read."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy import ndarray
from zarr.codecs import ZstdCodec
from zarr.core.dtype import VariableLengthUTF8

from livelatent.atlas.building.scratch import read_into
from livelatent.atlas.elements import consolidate, plain_column, write_element
from livelatent.atlas.layout import KEPT, text_index
from livelatent.atlas.sources.source import Source

ARRAY_CHUNK_BYTES = 4_000_000
NAMES_PER_CHUNK = 100_000


def fresh_obs(root: zarr.Group) -> zarr.Group:
    """An empty obs, whatever a killed call has left there."""
    if "obs" in root:
        del root["obs"]
    return root.create_group("obs")


def write_columns(group: zarr.Group, columns: "Iterable[tuple[str, Any]]") -> None:
    """Write obs column by column, as AnnData writes a data frame; its index is written already."""
    order = []
    for name, values in columns:
        write_element(group, name, plain_column(pd.Series(values)))
        order.append(name)
    group.attrs.update(
        {"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index", "column-order": order}
    )


def write_names(group: zarr.Group, names: ndarray) -> None:
    """Write the index as AnnData writes text, a stretch at a time: all at once took 90 MB for a million names."""
    stretch = max(1, min(names.size, NAMES_PER_CHUNK))
    array = group.create_array(
        "_index",
        shape=names.shape,
        dtype=VariableLengthUTF8(),  # type: ignore[arg-type]  # zarr annotates numeric types only
        chunks=(stretch,),
        compressors=ZstdCodec(level=3, checksum=True),
        config={"write_empty_chunks": True},
        attributes={"encoding-type": "string-array", "encoding-version": "0.2.0"},
    )
    for start in range(0, names.size, stretch):
        array[start : start + stretch] = names[start : start + stretch]


def var_table(sources: Sequence[Source], genes: Sequence[str], *, keeps_mask: bool = False) -> pd.DataFrame:
    """Gene columns: of one source all of its own, of several those on which they agree wherever they know the gene.

    Parameters
    ----------
    keeps_mask
        Take over which genes QC keeps: where a store grows. In a new one, genes and cells are others.
    """
    names = text_index(genes)
    tables = []
    for source in sources:
        table = source.var.set_axis(text_index(source.genes), axis=0)
        dropped = [] if keeps_mask else [KEPT]
        tables.append(table[~table.index.duplicated()].drop(columns=dropped, errors="ignore"))
    if len(tables) == 1:
        return tables[0].reindex(names)
    result = pd.DataFrame(index=names)
    for column in tables[0].columns:
        if not all(column in table.columns for table in tables):
            continue
        known = [table[column].astype(object).reindex(names) for table in tables]
        first = known[0]
        for other in known[1:]:
            first = first.where(first.notna(), other)
        if all(bool(((other == first) | other.isna()).all()) for other in known):
            result[column] = first.infer_objects()
    return result


def shared_obsm(sources: Sequence[Source]) -> list[str]:
    """Names of arrays that every source has, equally wide."""
    first, *others = sources
    return [
        name
        for name, rows in first.obsm.items()
        if all(name in other.obsm and other.obsm[name].n_columns == rows.n_columns for other in others)
    ]


def write_obsm(
    group: zarr.Group,
    name: str,
    sources: Sequence[Source],
    order: ndarray,
    scratch: Path,
    max_bytes: int,
) -> None:
    """Write one dense array in the store's order, as wide as in the first source; a source that lacks it gives NaN.

    Rows go to their places in a plain file first, since a source is read in its own order only.
    """
    n_columns = sources[0].obsm[name].n_columns
    has = [name in source.obsm and source.obsm[name].n_columns == n_columns for source in sources]
    known = [source.obsm[name] for source, own in zip(sources, has, strict=True) if own]
    kind = np.result_type(*(rows.dtype for rows in known))
    if len(known) < len(sources) and kind.kind != "f":
        kind = np.dtype(np.float64)
    row_bytes = n_columns * kind.itemsize
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    path = scratch / "obsm"
    max_elements = max(n_columns, max_bytes // 4 // max(kind.itemsize, 8))
    with open(path, "w+b") as file:
        file.truncate(order.size * row_bytes)
        first = 0
        for source, own in zip(sources, has, strict=True):
            chunks = source.obsm[name].chunks(max_elements) if own else missing(source, n_columns, kind)
            for start, rows in chunks:
                put_rows(file.fileno(), np.ascontiguousarray(rows, kind), place[first + start :][: len(rows)])
            first += source.n_cells
        chunk = max(1, min(order.size, ARRAY_CHUNK_BYTES // max(row_bytes, 1)))
        array = group.create_array(
            name,
            shape=(order.size, n_columns),
            dtype=kind,
            chunks=(chunk, max(n_columns, 1)),
            compressors=ZstdCodec(level=3, checksum=True),
            config={"write_empty_chunks": True},
            attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
        )
        for start in range(0, order.size, chunk):
            rows = np.empty((min(chunk, order.size - start), n_columns), kind)
            read_into(rows.reshape(-1), file.fileno(), start * row_bytes)
            array[start : start + len(rows)] = rows
    path.unlink()


def missing(source: Source, n_columns: int, kind: "np.dtype[Any]") -> "Iterable[tuple[int, ndarray]]":
    """Rows of NaN."""
    for start in range(0, source.n_cells, 4096):
        yield start, np.full((min(4096, source.n_cells - start), n_columns), np.nan, kind)


def put_rows(handle: int, rows: ndarray, place: ndarray) -> None:
    """Write each row to its place in a file, neighbours together."""
    order = np.argsort(place)
    rows, place = rows[order], place[order]
    row_bytes = rows.shape[1] * rows.itemsize
    starts = np.flatnonzero(np.diff(place, prepend=-2) != 1)
    view = memoryview(rows.reshape(-1)).cast("B") if rows.size else memoryview(b"")
    for a, b in zip(starts, [*starts[1:], place.size], strict=True):
        os.pwrite(handle, view[a * row_bytes : b * row_bytes], int(place[a]) * row_bytes)


def finish(folder: Path, root: zarr.Group, facts: dict[str, Any]) -> None:
    """Write the facts and the marks of an AnnData; the joined metadata last."""
    write_element(root, "uns", {"livelatent": facts})
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    consolidate(folder)
