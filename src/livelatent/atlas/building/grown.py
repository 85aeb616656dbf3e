"""A store that grows: its copy in a work folder, sharing every finished shard with the original by hard links."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy import ndarray

from livelatent.atlas.building.matrix_writer import Cut, MatrixWriter
from livelatent.atlas.layout import Compression, index_type, matrix_codecs, wider
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.opening import array_in, group_in
from livelatent.atomic import sync_tree


@dataclass(frozen=True)
class Before:
    """A matrix of the store as it was."""

    name: str
    """`X` or `layers/NAME`."""
    lengths: ndarray
    """Stored values of each row."""
    n_values: int
    kind: "np.dtype[Any]"
    cut: Cut
    last: tuple[ndarray, ndarray]
    """Values and indices behind the last whole shard."""

    @property
    def n_whole(self) -> int:
        """Values in whole shards."""
        return self.n_values - self.n_values % self.cut.shard


def matrix_before(store: Path, name: str) -> Before:
    """What a growing store has of a matrix."""
    group = group_in(zarr.open_group(store, mode="r", use_consolidated=False), name)
    data, indices, pointers = (on_zarrs(array_in(group, part)) for part in ("data", "indices", "indptr"))
    indptr = np.asarray(pointers[:])
    assert data.shards is not None
    shard, n_values = int(data.shards[0]), int(data.shape[0])
    whole = n_values - n_values % shard
    last = np.asarray(data[whole:]), np.asarray(indices[whole:])
    cut = Cut(chunk=int(data.chunks[0]), shard=shard, compression=compression_of(data))
    return Before(name, np.diff(indptr).astype(np.int32), n_values, data.dtype, cut, last)


def compression_of(array: "zarr.Array[Any]") -> Compression:
    """How an array of ours was compressed."""
    return "cloud" if any("zstd" in str(getattr(codec, "cname", "")) for codec in array.compressors) else "local"


def link_matrix(store: Path, work: Path, before: Before) -> None:
    """Give the copy every whole shard by a hard link; what will be written anew is not linked, and never shared."""
    target = work / before.name
    shutil.rmtree(target, ignore_errors=True)
    for part in ("data", "indices"):
        (target / part / "c").mkdir(parents=True)
        shutil.copy(store / before.name / part / "zarr.json", target / part / "zarr.json")
        for number in range(before.n_whole // before.cut.shard):
            link_or_copy(store / before.name / part / "c" / str(number), target / part / "c" / str(number))
    shutil.copy(store / before.name / "zarr.json", target / "zarr.json")


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def widen(store: Path, work: Path, before: Before, kind: "np.dtype[Any]") -> None:
    """Write the copy's values anew in a wider type, shard by shard."""
    old = on_zarrs(array_in(zarr.open_group(store, mode="r", use_consolidated=False), f"{before.name}/data"))
    made = group_in(zarr.open_group(work, mode="a", use_consolidated=False), before.name).create_array(
        "data",
        shape=(before.n_whole,),
        chunks=(before.cut.chunk,),
        shards=(before.cut.shard,),
        dtype=kind,
        compressors=matrix_codecs(kind, before.cut.compression),
        fill_value=0,
        overwrite=True,
    )
    new = on_zarrs(made, in_order=True)
    for start in range(0, before.n_whole, before.cut.shard):
        new[start : start + before.cut.shard] = np.asarray(old[start : start + before.cut.shard]).astype(kind)


def growing_writer(
    root: zarr.Group,
    store: Path,
    work: Path,
    name: str,
    n_genes: int,
    kind: "np.dtype[Any]",
    done: int,
    after_shard: Any,
) -> tuple[MatrixWriter, "np.dtype[Any]", int]:
    """A writer behind the rows that are there; the type it writes; and how many new values lie in shards already.

    Parameters
    ----------
    kind
        Needed by the new values.
    done
        Values in shards after an earlier, killed call; 0 begins with the store as it is.
    """
    before = matrix_before(store, name)
    both = wider(before.kind, kind)
    whole = done - done % before.cut.shard
    if whole <= before.n_values:
        # No new shard is whole yet: begin from the original.
        link_matrix(store, work, before)
        if both != before.kind:
            widen(store, work, before, both)
        # A call that goes on after a power cut takes all this for written.
        sync_tree(work / name)
    parent, _, leaf = name.rpartition("/")
    is_begun = whole > before.n_values
    writer = MatrixWriter(
        root[parent] if parent else root,  # type: ignore[arg-type]
        leaf,
        n_genes=n_genes,
        value_type=both,
        cut=before.cut,
        before=before.lengths,
        done=whole if is_begun else before.n_whole,
        held=None if is_begun else (before.last[0].astype(both), before.last[1].astype(index_type(n_genes))),
        after_shard=after_shard,
    )
    return writer, both, whole - before.n_values if is_begun else 0
