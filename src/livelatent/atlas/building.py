"""A store built in its work folder: matrices, then tables, then the facts; each step goes on where it was killed."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy import ndarray

from livelatent.atlas.memory import Budget
from livelatent.atlas.genes import gene_map
from livelatent.atlas.joined_obs import JoinedObs, cell_names, keeps_identity
from livelatent.atlas.layout import (
    FORMAT,
    N_GENES,
    SPLIT,
    TOTAL,
    Compression,
    Layout,
    genes_sha256,
    index_type,
    split_names,
)
from livelatent.atlas.matrix_writer import Cut, MatrixWriter
from livelatent.atlas.scratch import Column, Scratch
from livelatent.atlas.shuffle import Part, Progress, Shuffle, Totals, scatter_matrix, write_matrix
from livelatent.atlas.sources.source import Matrix, Source
from livelatent.atlas.tables import finish, shared_obsm, var_table, write_obs, write_obsm
from livelatent.atlas.work import Work
from livelatent.atomic import sync_file
from livelatent.errors import CountsError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a store is made of, and how."""

    sources: tuple[Source, ...]
    genes: tuple[str, ...]
    layers: tuple[str, ...]
    obs: JoinedObs
    facts: dict[str, Any] = field(default_factory=dict)
    """Of `uns["livelatent"]`, as far as they are known before."""
    budget: Budget
    layout: Layout
    compression: Compression
    seed: int

    @property
    def n_cells(self) -> int:
        """Cells of all sources."""
        return sum(source.n_cells for source in self.sources)

    def parts(self, layer: str | None) -> list[Part]:
        """Each source's share of the counts, or of a layer."""
        return [Part(s, matrix_of(s, layer), gene_map(s, self.genes).astype(np.int32)) for s in self.sources]


def matrix_of(source: Source, layer: str | None) -> Matrix:
    """The counts, or a layer."""
    return source.counts if layer is None else source.layers[layer]


def build(work: Work, recipe: Recipe, report: Progress) -> None:
    """Write the whole store below `work.store`."""
    n_elements = sum(part.matrix.n_elements for part in recipe.parts(None))
    shuffle = Shuffle(recipe.n_cells, recipe.budget.n_buckets(n_elements), (recipe.seed,))
    root = zarr.open_group(work.store, mode="a", zarr_format=3)
    n_known = recipe.n_cells if work.state.get("finished") else work.state.get("scattered", {}).get("rows", 0)
    totals = Totals(
        Column(work.scratch / "total", "float64", recipe.n_cells, n_known),
        Column(work.scratch / "n_seen", "int32", recipe.n_cells, n_known),
    )
    for layer in (None, *recipe.layers):
        name = "X" if layer is None else layer
        if name not in work.state.get("finished", []):
            build_matrix(work, recipe, root, layer, shuffle, totals, report)
            finished = [*work.state.get("finished", []), name]
            work.save(finished=finished, scattered={}, done=0)
            shutil.rmtree(work.scratch / "matrix")
    build_tables(work, recipe, root, shuffle.order(), totals, report)


def build_matrix(
    work: Work,
    recipe: Recipe,
    root: zarr.Group,
    layer: str | None,
    shuffle: Shuffle,
    totals: Totals,
    report: Progress,
) -> None:
    """Scatter and write the counts (`layer` None) or a layer."""
    of = "" if layer is None else f" {layer}"
    n_genes = len(recipe.genes)
    scratch = Scratch(
        work.scratch / "matrix", shuffle.bucket_of, shuffle.n_buckets, n_genes, work.state.get("scattered", {})
    )
    try:
        chunk, counted = recipe.budget.chunk_elements, totals if layer is None else None
        scatter_matrix(work, scratch, recipe.parts(layer), n_genes, chunk, counted, report, f"reading{of}")
        if layer is None and not scratch.lengths.any():
            raise CountsError(
                f"{', '.join(str(source.path) for source in recipe.sources)}: every value is 0, so there is nothing "
                "to learn."
            )
        kind = scratch.value_type()
        wanted = recipe.budget.shard_elements(recipe.layout.shard_elements, index_type(n_genes), kind)
        layout = dataclasses.replace(recipe.layout, shard_elements=wanted)
        shard, chunk = layout.shard_chunk_elements(scratch.n_elements, recipe.n_cells)
        parent = root if layer is None else layers_group(root)
        name = "X" if layer is None else layer
        folder = work.store / ("X" if layer is None else f"layers/{layer}")
        done = int(work.state.get("done", 0))

        def after_shard(n_done: int) -> None:
            for part in ("data", "indices"):
                sync_file(folder / part / "c" / str((n_done - 1) // shard))
            work.save(done=n_done)

        writer = MatrixWriter(
            parent,
            name,
            n_genes=n_genes,
            value_type=kind,
            cut=Cut(chunk=chunk, shard=shard, compression=recipe.compression),
            done=done - done % shard,
            after_shard=after_shard,
        )
        write_matrix(writer, scratch, shuffle, kind, done - done % shard, report, f"writing{of}")
    finally:
        scratch.close()


def layers_group(root: zarr.Group) -> zarr.Group:
    """The group of layers, made where it is not there."""
    group = root.require_group("layers")
    group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    return group


def build_tables(
    work: Work, recipe: Recipe, root: zarr.Group, order: ndarray, totals: Totals, report: Progress
) -> None:
    """Write obs, var, obsm and the facts, in the order that the matrices were written in."""
    total, n_seen = true_totals(recipe.sources, totals)
    n_empty = int((total == 0).sum())
    report(recipe.n_cells, recipe.n_cells, "tables" + (f" ({n_empty} empty cells kept)" if n_empty else ""))
    source, source_row = recipe.obs.identity()
    barcodes = np.concatenate([source.obs.names() for source in recipe.sources])
    names, is_renamed = cell_names(barcodes, source, source_row)

    def columns() -> Any:
        for name in recipe.obs.columns:
            yield name, take(recipe.obs.column(name), order)
        if is_renamed and "barcode" not in recipe.obs.columns:
            yield "barcode", pd.Series(barcodes[order])
        yield "store_uuid", pd.Categorical.from_codes(np.zeros(order.size, np.int8), [work.uuid])
        yield "source", source.take(order)
        yield "source_row", source_row[order]
        yield SPLIT, pd.Categorical(split_names(order.size))
        yield TOTAL, total[order]
        yield N_GENES, n_seen[order]

    write_obs(root, names[order], columns())
    for name in ("var", "uns", "obsm"):
        if name in root:
            del root[name]
    finish_tables(work, recipe, root, order, float(total.mean()))


def finish_tables(work: Work, recipe: Recipe, root: zarr.Group, order: ndarray, mean_total: float) -> None:
    """Write var, obsm and the facts."""
    from livelatent.atlas.elements import plain_frame, write_element

    write_element(root, "var", plain_frame(var_table(recipe.sources, recipe.genes)))
    obsm = root.create_group("obsm", attributes={"encoding-type": "dict", "encoding-version": "0.1.0"})
    for name in shared_obsm(recipe.sources):
        write_obsm(obsm, name, recipe.sources, order, work.scratch, recipe.budget.free // 4)
    facts = {
        "format": FORMAT,
        "uuid": work.uuid,
        **recipe.facts,
        "genes_sha256": genes_sha256(recipe.genes),
        "version": version("livelatent"),
        "mean_total": mean_total,
    }
    finish(work.store, root, facts)


def take(column: "pd.Series[Any]", order: ndarray) -> "pd.Series[Any]":
    """A column in another order."""
    return column.take(order).reset_index(drop=True)


def true_totals(sources: Sequence[Source], totals: Totals) -> tuple[ndarray, ndarray]:
    """Total counts and genes seen of every cell, in source order, over all genes ever measured in it.

    A store of ours, or its export, may lack genes that its own source had; what it says of its cells does not.
    """
    total, n_seen, first = totals.total.values.copy(), totals.n_seen.values, 0
    for source in sources:
        if keeps_identity(source) and TOTAL in source.obs.columns:
            total[first : first + source.n_cells] = source.obs.column(TOTAL).to_numpy(np.float64)
        first += source.n_cells
    return total, n_seen


def sources_json(sources: Sequence[Source]) -> str:
    """What the sources were, as text."""
    return json.dumps([{"name": s.name, "n_cells": s.n_cells, **dataclasses.asdict(s.fingerprint)} for s in sources])


def scratch_bytes(sources: Sequence[Source], layers: Sequence[str]) -> int:
    """Bytes of scratch and store together: 4 to 8 per value while it works, about 2 to stay."""
    n_values = 0
    for source in sources:
        for matrix in (source.counts, *(source.layers[name] for name in layers)):
            size = source.n_cells * len(source.genes)
            # A dense matrix of counts is about 90 % zeros.
            n_values += matrix.n_elements if matrix.n_elements < 0.3 * size else matrix.n_elements // 5
    return 8 * n_values + 500 * sum(source.n_cells for source in sources)


def folder_bytes(folder: Path) -> int:
    """What the files below a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
