"""Simulated cells as a store: its rows are independent of their neighbours, so none is moved."""

import hashlib
import json
import uuid as uuids
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from scipy import sparse

from livelatent.atlas import manifest
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.matrix_writer import Cut, MatrixWriter
from livelatent.atlas.building.tables import finish
from livelatent.atlas.building.target import refuse_existing, remove_leftovers
from livelatent.atlas.elements import plain_frame, write_element
from livelatent.atlas.layout import FORMAT, N_GENES, SPLIT, TOTAL, Layout, genes_sha256, split_names, text_index
from livelatent.atomic import fresh_folder, need_space, only_writer
from livelatent.simulated.recipe import NO_LABEL

SOURCE = "simulated"
"""What stands where an ingested cell has its file's name; `source_row` is the cell's number."""


def write_store(
    target: Path,
    matrix: Iterator[sparse.csr_matrix],
    obs: Callable[[], pd.DataFrame],
    var: pd.DataFrame,
    *,
    n_cells: int,
    values_per_cell: float,
    shard_bytes: int,
    recipe: str,
    overwrite: bool,
    report: Callable[[int], None],
) -> Atlas:
    """Write consecutive rows as a store of ours, whole or absent.

    Parameters
    ----------
    values_per_cell
        About how many are to come: it decides how the matrix is cut up.
    shard_bytes
        What two shards may take, being filled and being compressed.
    recipe
        Text that tells these cells from others, for the store's list of sources.
    """
    refuse_existing(target, overwrite=overwrite)
    with only_writer(target.with_name(f".{target.name}.lock"), f"the store {target}"):
        remove_leftovers(target)
        refuse_existing(target, overwrite=overwrite)
        n_elements = max(1, round(values_per_cell * n_cells))
        need_space(target, 4 * n_elements + 500 * n_cells, f"Simulating {target}")
        uuid = str(uuids.uuid4())
        with manifest.next_or_none(target), fresh_folder(target) as aside:
            root = zarr.open_group(aside, mode="w", zarr_format=3)
            total, n_seen = write_counts(root, matrix, len(var), n_elements, n_cells, shard_bytes, report)
            write_tables(root, obs(), var, uuid, total, n_seen)
            facts = {
                "format": FORMAT,
                "uuid": uuid,
                "label": "cell_type",
                "batch": "batch",
                "unlabelled": np.array([NO_LABEL], dtype=object),
                "genes_sha256": genes_sha256([str(name) for name in var.index]),
                "sources": sources_json(recipe, n_cells),
                "version": version("livelatent"),
                "mean_total": float(total.mean()),
            }
            finish(aside, root, facts)
            manifest.write_next(target, manifest.describe(aside, uuid))
        manifest.settle(target)
    return Atlas.open(target)


def write_counts(
    root: zarr.Group,
    matrix: Iterator[sparse.csr_matrix],
    n_genes: int,
    n_elements: int,
    n_cells: int,
    shard_bytes: int,
    report: Callable[[int], None],
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Write `X`; gives each cell's total and number of genes."""
    kind = np.dtype(np.uint16)
    layout = Layout(shard_elements=max(1, min(Layout().shard_elements, shard_bytes // 8)))
    shard, chunk = layout.shard_chunk_elements(n_elements, n_cells)
    writer = MatrixWriter(root, "X", n_genes=n_genes, value_type=kind, cut=Cut(chunk=chunk, shard=shard))
    total, n_seen, done = np.zeros(n_cells), np.zeros(n_cells, np.int32), 0
    for part in matrix:
        rows = slice(done, done + part.shape[0])
        n_seen[rows] = np.diff(part.indptr)
        total[rows] = np.asarray(part.sum(axis=1, dtype=np.float64)).ravel()
        writer.append(part.data.astype(kind), part.indices, n_seen[rows])
        done = rows.stop
        report(done)
    writer.finish()
    return total, n_seen


def write_tables(
    root: zarr.Group,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    uuid: str,
    total: "np.ndarray[Any, Any]",
    n_seen: "np.ndarray[Any, Any]",
) -> None:
    """Write obs with the columns of every store, var, and room for obsm."""
    every_cell = [0] * len(obs)
    added: dict[str, Any] = {
        "store_uuid": pd.Categorical.from_codes(every_cell, categories=text_index([uuid])),
        "source": pd.Categorical.from_codes(every_cell, categories=text_index([SOURCE])),
        "source_row": np.arange(len(obs)),
        SPLIT: pd.Categorical(split_names(len(obs))),
        TOTAL: total,
        N_GENES: n_seen,
    }
    obs = obs.assign(**added)
    write_element(root, "obs", plain_frame(obs))
    write_element(root, "var", plain_frame(var))
    root.create_group("obsm", attributes={"encoding-type": "dict", "encoding-version": "0.1.0"})


def sources_json(recipe: str, n_cells: int) -> str:
    """The recipe in the place of files."""
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    return json.dumps([{"name": SOURCE, "n_cells": n_cells, "size": 0, "mtime_ns": 0, "sha256": digest}])
