"""Every array of a store, decoded piece by piece; and every sparse matrix, row by row."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pandas as pd
import zarr
from jaxtyping import Int, Shaped
from numpy import ndarray

from livelatent.atlas.findings import Finding, at_most, damage
from livelatent.atlas.layout import N_GENES, TOTAL
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.opening import array_in, group_in
from livelatent.atlas.sources.matrices import pieces
from livelatent.atlas.stored_matrix import shards_between
from livelatent.progress import CellProgress

BLOCK_ELEMENTS = 2_000_000
"""Stored values held at once: 8 MB of two u16 arrays, some 60 MB with what is compared."""
Known = Callable[[str], bool]
"""Whether a file is known to be damaged already."""


def matrices_of(root: zarr.Group) -> list[str]:
    """Every CSR matrix: X, and layers."""
    layers = sorted(group_in(root, "layers").group_keys()) if "layers" in root else []
    names = ["X", *(f"layers/{name}" for name in layers)]
    return [name for name in names if root[name].attrs.get("encoding-type") == "csr_matrix"]


def check_arrays(store: Path, root: zarr.Group, known: Known, report: CellProgress) -> Iterator[Finding]:
    """Decode every chunk of every array that is no matrix's values."""
    skipped = {f"{name}/{part}" for name in matrices_of(root) for part in ("data", "indices")}
    arrays = {name: item for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    wrong = []
    for number, (name, array) in enumerate(sorted(arrays.items())):
        report(number, len(arrays), "tables")
        if name in skipped:
            continue
        try:
            for piece in pieces_of(array):
                array[piece]
        except Exception as error:
            if not any(known(file) for file in chunk_files(store, name)):
                wrong.append(damage(name, f"it can't be decoded ({type(error).__name__}: {error})."))
    yield from at_most(wrong)


def pieces_of(array: "zarr.Array[Any]") -> Iterator[Any]:
    """Selections that cover an array, of whole chunks, some million values each."""
    if array.ndim == 0:
        yield ()
        return
    step = (array.shards or array.chunks)[0]
    row = max(1, math.prod(array.shape[1:]))
    step *= max(1, BLOCK_ELEMENTS // (step * row))
    for start in range(0, array.shape[0], step):
        yield slice(start, start + step)


def chunk_files(store: Path, name: str) -> list[str]:
    """The files of one array."""
    return [path.relative_to(store).as_posix() for path in sorted((store / name).rglob("*")) if path.is_file()]


def check_matrix(
    store: Path, root: zarr.Group, name: str, obs: "pd.DataFrame | None", known: Known, report: CellProgress
) -> Iterator[Finding]:
    """Decode a matrix and check all that readers rely on, in blocks of rows."""
    try:
        group = group_in(zarr.open_group(store, mode="r", zarr_format=3), name)
        data, indices, pointers = (on_zarrs(array_in(group, part)) for part in ("data", "indices", "indptr"))
        shape: Any = group.attrs["shape"]
        n_cells, n_genes = (int(size) for size in shape)
        indptr = np.asarray(pointers[:]).astype(np.int64)
    except Exception as error:
        if not any(known(file) for file in chunk_files(store, name)):
            yield damage(name, f"it can't be read ({type(error).__name__}: {error}).")
        return
    for part, array in (("data", data), ("indices", indices)):
        yield from check_shards_of(store, f"{name}/{part}", array, known)
    if (
        len(indptr) != n_cells + 1
        or indptr[0] != 0
        or bool((np.diff(indptr) < 0).any())
        or indptr[-1] != data.shape[0]
        or data.shape != indices.shape
    ):
        yield damage(f"{name}/indptr", "the row pointers do not fit the values they point to.")
        return
    wrong: list[Finding] = []
    for start, stop in pieces(indptr, BLOCK_ELEMENTS):
        first, last = int(indptr[start]), int(indptr[stop])
        if any(known(file) for file in shards_between(name, data, indices, first, last)):
            continue  # named already, and what is read of it means nothing
        try:
            values, genes = np.asarray(data[first:last]), np.asarray(indices[first:last]).astype(np.int64)
        except Exception as error:
            where = f"{name}, cells {start} to {stop - 1}"
            wrong.append(damage(where, f"can't be decoded ({type(error).__name__})."))
            continue
        pointers_here = indptr[start : stop + 1] - first
        for cell, what in row_problems(pointers_here, genes, values, n_genes):
            wrong.append(damage(f"{name}, cell {start + cell}", what))
        if name == "X" and obs is not None and len(obs) == n_cells:
            for cell, what in total_problems(pointers_here, values, obs.iloc[start:stop]):
                wrong.append(damage(f"{name}, cell {start + cell}", what))
        report(stop, n_cells, f"matrix {name}")
    yield from at_most(wrong)


def row_problems(
    indptr: Int[ndarray, " pointer"],
    genes: Int[ndarray, " value"],
    values: Shaped[ndarray, " value"],
    n_genes: int,
) -> Iterator[tuple[int, str]]:
    """The first cell of a block with each kind of fault, and what it is."""
    is_first = np.zeros(len(genes) + 1, bool)
    is_first[indptr[:-1]] = True
    falls = np.zeros(len(genes), bool)
    falls[1:] = (np.diff(genes) <= 0) & ~is_first[1:-1]
    faults = [
        ((genes < 0) | (genes >= n_genes), f"it names a gene outside 0..{n_genes - 1}."),
        (falls, "its genes are not in ascending order, each once."),
        (values == 0, "it stores a zero."),
        (~np.isfinite(values) | (values < 0), "it holds a value that is no count (negative, NaN or infinite)."),
    ]
    for is_wrong, what in faults:
        if is_wrong.any():
            place = int(np.argmax(is_wrong))
            yield int(np.searchsorted(indptr, place, side="right")) - 1, what


def total_problems(
    indptr: Int[ndarray, " pointer"], values: Shaped[ndarray, " value"], obs: pd.DataFrame
) -> Iterator[tuple[int, str]]:
    """Cells whose counts are more than the totals over all genes that obs keeps."""
    sums = np.zeros(len(obs))
    full = np.diff(indptr) > 0
    if full.any():
        sums[full] = np.add.reduceat(values.astype(np.float64), indptr[:-1][full])
    if TOTAL in obs:
        above = sums > np.asarray(obs[TOTAL], dtype=np.float64) * (1 + 1e-6) + 1e-6
        if above.any():
            yield int(np.argmax(above)), f"its counts are more than its {TOTAL}."
    if N_GENES in obs:
        above = np.diff(indptr) > np.asarray(obs[N_GENES], dtype=np.int64)
        if above.any():
            yield int(np.argmax(above)), f"it has more genes than its {N_GENES}."


def check_shards_of(store: Path, name: str, array: "zarr.Array[Any]", known: Known) -> Iterator[Finding]:
    """Every shard is there, and its index is whole and points into it: zarrs checks that on whole shards only."""
    shards = array.shards
    size = int((shards or array.chunks)[0])
    wrong = []
    for number in range(-(-array.shape[0] // size)):
        file = f"{name}/c/{number}"
        if known(file):
            continue
        if not (store / file).is_file():
            wrong.append(damage(file, "the file is missing. Zarr would read it as zeros."))
        elif shards is not None and not has_sound_index(store / file, size // int(array.chunks[0])):
            wrong.append(damage(file, "the index of the shard is damaged."))
    yield from at_most(wrong)


def has_sound_index(path: Path, n_chunks: int) -> bool:
    """Whether the shard's last bytes are an index whose checksum holds, and whose chunks lie before it."""
    length = 16 * n_chunks + 4
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size < length:
            return False
        file.seek(size - length)
        index = file.read(length)
    if google_crc32c.value(index[:-4]) != int.from_bytes(index[-4:], "little"):
        return False
    places = np.frombuffer(index[:-4], "<u8").reshape(-1, 2)
    held = places[(places != np.iinfo(np.uint64).max).all(axis=1)].astype(np.float64)
    return bool((held.sum(axis=1) <= size - length).all())
