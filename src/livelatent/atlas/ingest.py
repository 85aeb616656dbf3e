"""Sources to one shuffled, sharded store: bounded memory, whole or absent."""

import dataclasses
import json
import os
import shutil
import uuid as uuids
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from scipy import sparse

from livelatent.atlas import manifest
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.buckets import Buckets, ShardWriter
from livelatent.atlas.columns import finished_obs, joined_obs, resolved_column
from livelatent.atlas.counts import checked_counts
from livelatent.atlas.elements import consolidate, plain_frame, write_element
from livelatent.atlas.genes import Join, gene_map, joined_genes
from livelatent.atlas.layout import (
    FORMAT,
    TOTAL,
    Layout,
    genes_sha256,
    index_type,
    matrix_codecs,
    split_names,
    text_index,
)
from livelatent.atlas.memory import Budget, divided
from livelatent.atlas.opening import on_zarrs
from livelatent.atlas.sources import Source, fingerprint, open_source, read_chunks
from livelatent.atlas.target import refuse_existing, remove_leftovers, space_needed
from livelatent.atomic import fresh_folder, need_space, only_writer
from livelatent.errors import CountsError, SourceError, StoreError, StoreExistsError
from livelatent.paths import local_path, store_path

Progress = Callable[[int, int, str], None]


def ingest(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    label: str | None = None,
    batch: str | None = None,
    unlabelled: Sequence[str] = (),
    counts: str = "X",
    genes: Sequence[str] | None = None,
    join: Join = "inner",
    memory: str | int = "4GB",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
    layout: Layout | None = None,
) -> Atlas:
    """Turn `.h5ad` files into one store that streams.

    Parameters
    ----------
    sources
        One file or several; their cells are joined and shuffled.
    target
        The store to write, `NAME.zarr`.
    label, batch
        Obs columns with cell types and with the technical batch (`"source"` is the file's name).
    unlabelled
        Names in the label column that mean "no label".
    counts
        Where the counts are: `"X"`, `"raw"`, or a layer's name.
    genes
        Genes to keep, in this order; all by default.
    join
        Keep the genes that every source has (`"inner"`), or all, zero where not measured (`"outer"`).
    memory
        Limit for the data held at once. The interpreter and its libraries (about 0.3 GB) come on top.
    progress
        Called often with cells done, cells in all, and what is being done.
    layout
        How the store is cut up; tests make small shards with it.

    Raises
    ------
    SourceError, CountsError, GeneMismatchError, ColumnError
        If a source can't be read, holds no counts, shares no genes, or lacks a column.
    StoreExistsError
        If something stands at `target`, and `overwrite` is not given or its labels would be lost.
    MemoryLimitError, DiskSpaceError, StoreBusyError
        If there is too little memory or disk, or somebody else is writing there.

    Notes
    -----
    Whatever ends it (an error, Ctrl-C, a crash), what stood at `target` stays as it was.
    """
    target = store_path(target, StoreError)
    if not target.name:
        raise StoreExistsError(f"{target} is no place for a store. Name one in it, such as {target}blood.zarr.")
    named = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths = [local_path(path, SourceError) for path in named]
    if not paths:
        raise ValueError("no sources were given.")
    report = progress or (lambda done, total, what: None)
    refuse_existing(target, overwrite=overwrite)
    # All that can be refused is refused before the lock's file is made.
    opened = [
        open_source(path, counts=counts, name=name) for path, name in zip(paths, source_names(paths), strict=True)
    ]
    chosen = joined_genes(opened, join, genes)
    obs = joined_obs(opened)
    columns = {
        "label": resolved_column(opened, obs, label, "label"),
        "batch": resolved_column(opened, obs, batch, "batch"),
    }
    if not chosen:
        raise SourceError(f"{', '.join(map(str, paths))}: there are no genes to ingest.")
    wanted = layout or Layout()
    n_genes = max(len(chosen), max(len(source.genes) for source in opened))
    budget = divided(memory, n_cells=len(obs), n_genes=n_genes, shard_elements=wanted.shard_elements)
    wanted = dataclasses.replace(wanted, shard_elements=budget.shard_elements)
    with only_writer(target.with_name(f".{target.name}.lock"), f"the store {target}"):
        remove_leftovers(target)
        refuse_existing(target, overwrite=overwrite)
        need_space(target, space_needed(opened), f"Ingesting into {target}")
        uuid = str(uuids.uuid4())
        with manifest.next_or_none(target), fresh_folder(target) as aside:
            facts = {
                "format": FORMAT,
                "uuid": uuid,
                **columns,
                "unlabelled": np.array([str(name) for name in unlabelled], dtype=object),
                "genes_sha256": genes_sha256(chosen),
                "sources": sources_json(opened),
                "version": version("livelatent"),
            }
            write_store(aside, opened, chosen, obs, facts, budget, wanted, seed, report)
            check_unchanged(opened)
            manifest.write_next(target, manifest.describe(aside, uuid))
        manifest.settle(target)
    return Atlas.open(target)


def write_store(
    folder: Path,
    sources: Sequence[Source],
    genes: Sequence[str],
    obs: pd.DataFrame,
    facts: dict[str, Any],
    budget: Budget,
    layout: Layout,
    seed: int,
    report: Progress,
) -> None:
    """Write everything below `folder`: the matrix in two passes, then the tables, the joined metadata last."""
    rng = np.random.Generator(np.random.Philox(seed))
    n_elements = sum(source.n_elements for source in sources)
    n_buckets = budget.n_buckets(n_elements)
    bucket_of = rng.integers(0, n_buckets, len(obs)).astype(np.int32)
    scattered = folder.with_name(f"{folder.name}.buckets.partial")
    try:
        buckets = Buckets(scattered, n_buckets, bucket_of, len(genes))
        total, n_seen = scatter(sources, genes, buckets, budget, report)
        n_empty = int((total == 0).sum())
        order = write_matrix(folder, buckets, layout, rng, report)
    finally:
        shutil.rmtree(scattered, ignore_errors=True)
    report(len(obs), len(obs), "tables" + (f" ({n_empty} empty cells kept)" if n_empty else ""))
    root = zarr.open_group(folder, mode="r+", zarr_format=3)
    split = split_names(len(obs))
    table = finished_obs(obs.iloc[order], facts["uuid"], total[order], n_seen[order], split)
    write_element(root, "obs", plain_frame(table))
    var = sources[0].var.loc[:, :] if len(sources) == 1 else None
    names = text_index(genes)
    write_element(root, "var", plain_frame(var_table(var, names)))
    write_element(root, "uns", {"livelatent": {**facts, "mean_total": float(total.mean())}})
    obsm = root.create_group("obsm", attributes={"encoding-type": "dict", "encoding-version": "0.1.0"})
    if len(sources) == 1:
        for name, array in sources[0].obsm.items():
            write_element(obsm, name, array[order])
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    consolidate(folder)


def scatter(
    sources: Sequence[Source], genes: Sequence[str], buckets: Buckets, budget: Budget, report: Progress
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """First pass: check, count, pick genes, throw into buckets. Totals and genes seen per cell, in source order."""
    n_cells = buckets.bucket_of.size
    total, n_seen = np.zeros(n_cells), np.zeros(n_cells, np.int32)
    report(0, n_cells, "reading")
    first = 0
    for source in sources:
        places = gene_map(source, genes)
        for start, chunk in read_chunks(source, budget.chunk_elements):
            chunk = checked_counts(source, start, chunk)
            rows = slice(first + start, first + start + chunk.shape[0])
            total[rows] = np.asarray(chunk.sum(axis=1, dtype=np.float64)).ravel()
            n_seen[rows] = np.diff(chunk.indptr)
            buckets.add(rows.start, picked(chunk, places, len(genes)))
            report(rows.stop, n_cells, "reading")
        if source.livelatent is not None and TOTAL in source.obs.columns:
            # An export of a store of ours may lack genes that its own source had; its totals don't.
            total[first : first + source.n_cells] = np.asarray(source.obs[TOTAL], dtype=np.float64)
        first += source.n_cells
    if not buckets.row_elements.any():
        raise CountsError(
            f"{', '.join(str(source.path) for source in sources)}: every value is 0, so there is nothing to learn."
        )
    return total, n_seen


def picked(chunk: sparse.csr_matrix, places: np.ndarray[Any, Any], n_genes: int) -> sparse.csr_matrix:
    """The chunk's values moved to the store's genes, sorted within each cell."""
    if places.size == n_genes and bool((places == np.arange(n_genes)).all()):
        return chunk
    indices = places[chunk.indices]
    kept = indices >= 0
    lengths = np.concatenate([[0], np.cumsum(kept)])[chunk.indptr]
    result = sparse.csr_matrix((chunk.data[kept], indices[kept], lengths), shape=(chunk.shape[0], n_genes))
    result.sort_indices()
    return result


def write_matrix(
    folder: Path, buckets: Buckets, layout: Layout, rng: np.random.Generator, report: Progress
) -> np.ndarray[Any, Any]:
    """Second pass: shuffle bucket after bucket into `X`. The source row of each store row."""
    n_cells, n_genes = buckets.bucket_of.size, buckets.n_genes
    n_elements = int(buckets.row_elements.sum())
    shard, chunk = layout.shard_chunk_elements(n_elements, n_cells)
    with on_zarrs():
        root = zarr.open_group(folder, mode="a", zarr_format=3)
        matrix = root.create_group(
            "X",
            attributes={
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": [n_cells, n_genes],
            },
        )
        writers = {}
        for name, kind in (("data", buckets.value_type), ("indices", index_type(n_genes))):
            writers[name] = ShardWriter(
                matrix.create_array(
                    name,
                    shape=(n_elements,),
                    chunks=(chunk,),
                    shards=(shard,),
                    dtype=kind,
                    compressors=matrix_codecs(kind),
                    # Every shard exists, and a missing file is a damaged store: zarrs writes no shard that holds
                    # the fill value only, and cells of gene 0 alone were such a shard.
                    fill_value=fill_value(name, kind),
                )
            )
    order, lengths, done = [], [], 0
    for rows, part in buckets.shuffled(rng):
        writers["data"].append(part.data)
        writers["indices"].append(part.indices)
        order.append(rows)
        lengths.append(np.diff(part.indptr))
        done += rows.size
        report(done, n_cells, "writing")
    for writer in writers.values():
        writer.flush()
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)]).astype(np.int64)
    write_element(matrix, "indptr", indptr)
    return np.concatenate(order)


def fill_value(name: str, kind: np.dtype[Any]) -> int:
    """A value that no shard is full of: data hold no zeros, indices not the largest number (65,536 genes apart)."""
    return 0 if name == "data" else int(np.iinfo(kind).max)


def var_table(var: pd.DataFrame | None, genes: "pd.Index[Any]") -> pd.DataFrame:
    """Gene names, with the source's gene columns where there is one source."""
    if var is None:
        return pd.DataFrame(index=genes)
    named = var.set_axis(pd.Index([str(name) for name in var.index], dtype=object), axis=0)
    return named.reindex(genes)


def source_names(paths: Sequence[Path]) -> list[str]:
    """File names, with as much of the folder before them as tells them apart."""
    if len({path.resolve() for path in paths}) != len(paths):
        raise SourceError("the same file is named twice among the sources.")
    for depth in range(1, max(len(path.resolve().parts) for path in paths) + 1):
        names = ["/".join(path.resolve().parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def sources_json(sources: Sequence[Source]) -> str:
    """What the sources were, as text."""
    return json.dumps(
        [
            {"name": source.name, "n_cells": source.n_cells, **dataclasses.asdict(source.fingerprint)}
            for source in sources
        ]
    )


def check_unchanged(sources: Sequence[Source]) -> None:
    """Raise if a source was changed while it was read."""
    for source in sources:
        try:
            same = fingerprint(source.path) == source.fingerprint
        except OSError:
            same = False
        if not same:
            raise SourceError(f"{source.path} was changed while it was read. Ingest it again when it is complete.")
