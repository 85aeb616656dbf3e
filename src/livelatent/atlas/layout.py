"""The store's format, version 1: chunk and shard sizes, number types, names, where its companions lie."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped
from numpy import ndarray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, ZstdCodec

FORMAT = 1
SPLIT, TOTAL, N_GENES, LABEL = "livelatent_split", "livelatent_total", "livelatent_n_genes", "livelatent_label"
IDENTITY = ("store_uuid", "source", "source_row")
KEPT = "livelatent_kept"
"""In obs and var: whether QC keeps the cell, the gene."""
QC_COLUMNS = tuple(f"livelatent_qc_{name}" for name in ("n_genes", "total", "pct_mito", "pct_top20"))
RESERVED = (*IDENTITY, SPLIT, TOTAL, N_GENES, LABEL, KEPT, *QC_COLUMNS)
"""Columns that livelatent writes. A source's own column of that name is kept as `NAME_original`."""

VALUE_TYPES = tuple(np.dtype(name) for name in ("uint16", "uint32", "float32", "float64"))


SMALLEST_CHUNK = 8_192
"""Values, where the number of cells per chunk is not given: each chunk has a header, a checksum and an entry."""

Compression = Literal["local", "cloud"]
"""lz4, read fastest from a disk; or zstd, a quarter smaller and half as dear again to decode."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the two long arrays of `X` are cut up."""

    chunk_cells: int | None = None
    """Cells per chunk. None: 64, and more where they would have fewer than 8,192 values. Whoever reads a block decodes
    the chunks at its two ends for other cells' sake, so smaller ones are faster: cells/s of 2,000 genes with 256, 128,
    96 and 64 cells a chunk 664k, 781k, 800k and 854k, at 399, 402, 403 and 406 MB."""
    shard_elements: int = 32_000_000
    """About 64 MB of raw u16 per array; the writer holds one shard."""

    def chunk_elements(self, n_elements: int, n_cells: int) -> int:
        """Stored values per chunk."""
        per_cell = n_elements / max(n_cells, 1)
        if self.chunk_cells:
            return max(1, round(self.chunk_cells * per_cell))
        return max(SMALLEST_CHUNK, round(64 * per_cell))

    def shard_chunk_elements(self, n_elements: int, n_cells: int) -> tuple[int, int]:
        """Stored values per shard (a multiple of the chunk's), and per chunk."""
        chunk = self.chunk_elements(n_elements, n_cells)
        whole = -(-n_elements // chunk)
        return chunk * max(1, min(self.shard_elements // chunk, whole)), chunk


WHOLE_CHUNK = 2**20
"""Bytes of a block, more than a chunk has."""


def matrix_codecs(kind: np.dtype[Any], compression: Compression = "local") -> list[BytesBytesCodec]:
    """lz4 for speed (zstd for size), in a Zstandard frame for its checksum.

    Zarr's own `crc32c` would be cheaper, but zarrs 0.2.3 checks it only where it decodes a whole shard: a range out
    of one was returned with its flipped bits. Zstandard checks whatever it decodes, and at this level stores the lz4
    bytes as they are: 23.8 MB either way, decoding 4.5 us of CPU per cell bare, 4.8 with crc32c, 5.6 so (12 M values
    of two u16 arrays, blocks of 512 cells, medians of 5 on a busy machine).
    """
    name: Literal["lz4", "zstd"] = "lz4" if compression == "local" else "zstd"
    # One block a chunk: Blosc does not split the last, part-full one of several into planes of bytes. (20,000 genes:
    # 452 MB for 472, decoding 5.4 us of CPU a cell for 6.5.)
    block = WHOLE_CHUNK if compression == "local" else 0
    shuffled = BloscCodec(cname=name, clevel=3, shuffle="shuffle", typesize=kind.itemsize, blocksize=block)
    return [shuffled, ZstdCodec(level=-100, checksum=True)]


def index_type(n_genes: int) -> np.dtype[Any]:
    """u16 for up to 65,536 genes, else i32."""
    return np.dtype("uint16") if n_genes <= 65_536 else np.dtype("int32")


def value_type(values: Shaped[ndarray, " value"]) -> np.dtype[Any]:
    """The first of u16, u32, f32, f64 that holds these whole counts without loss."""
    if values.size == 0:
        return VALUE_TYPES[0]
    largest = float(values.max())
    if largest <= 65_535:
        return VALUE_TYPES[0]
    if largest <= 4_294_967_295:
        return VALUE_TYPES[1]
    if bool((values.astype(np.float32).astype(np.float64) == values.astype(np.float64)).all()):
        return VALUE_TYPES[2]
    return VALUE_TYPES[3]


def wider(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """The first type that holds the values of both (u32 beside f32 needs f64)."""
    if {one.name, other.name} == {"uint32", "float32"}:
        return VALUE_TYPES[3]
    return max(one, other, key=VALUE_TYPES.index)


def text_index(values: Iterable[object]) -> "pd.Index[Any]":
    """A pandas index of plain objects: pandas 3 would make strings of its own, which older readers refuse."""
    held = np.asarray(values, object) if isinstance(values, ndarray | pd.Index) else np.array(list(values), object)
    index: pd.Index[Any] = pd.Index(held, dtype=object)
    return index


def places(values: Iterable[object], names: Iterable[object]) -> Int64[ndarray, " value"]:
    """The place of each value among the names, -1 where it is not one of them."""
    return np.asarray(text_index(names).get_indexer(text_index(values)), dtype=np.int64)


def genes_sha256(genes: Sequence[str]) -> str:
    """Hash of the gene names in their order."""
    return hashlib.sha256("\n".join(genes).encode()).hexdigest()


def beside(store: Path, kind: str) -> Path:
    """Where a store's companion lies: `blood.zarr` has `blood.labels`, `blood.runs`, `blood.manifest.json`."""
    name = store.name.removesuffix(".zarr") or store.name
    return store.with_name(f"{name}.{kind}")


def split_names(n_cells: int) -> Shaped[ndarray, " cell"]:
    """Which split each shuffled row is in: the last tenth validates, the tenth before it calibrates."""
    tenth = n_cells // 10
    names = np.full(n_cells, "train", dtype=object)
    names[n_cells - 2 * tenth : n_cells - tenth] = "calibration"
    names[n_cells - tenth :] = "validation"
    return names
