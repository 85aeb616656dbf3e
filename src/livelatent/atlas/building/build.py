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

from livelatent.atlas.building.grown import growing_writer
from livelatent.atlas.building.joined_obs import JoinedObs, cell_names, keeps_identity, one_category
from livelatent.atlas.building.matrix_writer import Cut, MatrixWriter
from livelatent.atlas.building.memory import Budget, give_back
from livelatent.atlas.building.scratch import Scratch
from livelatent.atlas.building.shuffle import Part, Shuffle, Totals, scatter_matrix, write_matrix
from livelatent.atlas.building.tables import (
    finish,
    fresh_obs,
    shared_obsm,
    var_table,
    write_columns,
    write_names,
    write_obsm,
)
from livelatent.atlas.building.work import Work
from livelatent.atlas.elements import plain_frame, write_element
from livelatent.atlas.genes import gene_map
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
from livelatent.atlas.sources.source import Matrix, Source
from livelatent.atomic import sync_file, sync_folder, sync_tree
from livelatent.errors import CountsError
from livelatent.progress import CellProgress


@dataclass(frozen=True)
class Base:
    """A store that grows: where it is, and itself as a source."""

    path: Path
    source: Source


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
    base: "Base | None" = None
    """The store that grows by these sources."""

    @property
    def n_cells(self) -> int:
        """Cells of all sources, without those of a store that grows."""
        return sum(source.n_cells for source in self.sources)

    def parts(self, layer: str | None) -> list[Part]:
        """Each source's share of the counts, or of a layer."""
        return [Part(s, matrix_of(s, layer), gene_map(s, self.genes).astype(np.int32)) for s in self.sources]


def matrix_of(source: Source, layer: str | None) -> Matrix:
    """The counts, or a layer."""
    return source.counts if layer is None else source.layers[layer]


def place_of(layer: str | None) -> str:
    """Where the counts, or a layer, lie in the store; a layer may be called `X`."""
    return "X" if layer is None else f"layers/{layer}"


def build(work: Work, recipe: Recipe, report: CellProgress) -> None:
    """Write the whole store below `work.store`."""
    n_elements = sum(part.matrix.n_elements for part in recipe.parts(None))
    n_before = recipe.base.source.n_cells if recipe.base else 0
    shuffle = Shuffle(recipe.n_cells, recipe.budget.n_buckets(n_elements), (recipe.seed, n_before))
    # Not by joined metadata, which a call killed at its very end has left.
    root = zarr.open_group(work.store, mode="a", zarr_format=3, use_consolidated=False)
    for layer in (None, *recipe.layers):
        place = place_of(layer)
        if place not in work.state.get("finished", []):
            build_matrix(work, recipe, root, layer, shuffle, report)
            sync_tree(work.store / place)
            sync_folder((work.store / place).parent)
            finished = [*work.state.get("finished", []), place]
            work.save(finished=finished, scattered={}, done=0)
            shutil.rmtree(work.scratch / "matrix")
            give_back()
    order = np.concatenate([np.arange(n_before), n_before + shuffle.order()])
    build_tables(work, recipe, root, order, report)
    give_back()


def build_matrix(
    work: Work,
    recipe: Recipe,
    root: zarr.Group,
    layer: str | None,
    shuffle: Shuffle,
    report: CellProgress,
) -> None:
    """Scatter and write the counts (`layer` None) or a layer."""
    of = "" if layer is None else f" {layer}"
    n_genes = len(recipe.genes)
    scratch = Scratch(
        work.scratch / "matrix", shuffle.bucket_of, shuffle.n_buckets, n_genes, work.state.get("scattered", {})
    )
    try:
        totals = Totals.of(work.scratch, recipe.n_cells, scratch.n_rows) if layer is None else None
        chunk = recipe.budget.chunk_elements
        scatter_matrix(work, scratch, recipe.parts(layer), n_genes, chunk, totals, report, f"reading{of}")
        del totals
        give_back()
        if layer is None and not scratch.lengths.any():
            raise CountsError(
                f"{', '.join(str(source.path) for source in recipe.sources)}: every value is 0, so there is nothing "
                "to learn."
            )
        place = place_of(layer)
        kind, done = scratch.value_type(), int(work.state.get("done", 0))
        if layer is not None:
            layers_group(root)

        def after_shard(number: int, n_done: int) -> None:
            for part in ("data", "indices"):
                sync_file(work.store / place / part / "c" / str(number))
                sync_folder(work.store / place / part / "c")
            work.save(done=n_done)

        if recipe.base is not None:
            writer, kind, n_written = growing_writer(
                root, recipe.base.path, work.store, place, n_genes, kind, done, after_shard
            )
        else:
            wanted = recipe.budget.shard_elements(recipe.layout.shard_elements, index_type(n_genes), kind)
            layout = dataclasses.replace(recipe.layout, shard_elements=wanted)
            shard, chunk = layout.shard_chunk_elements(scratch.n_elements, recipe.n_cells)
            n_written = done - done % shard
            writer = MatrixWriter(
                root if layer is None else layers_group(root),
                layer or "X",
                n_genes=n_genes,
                value_type=kind,
                cut=Cut(chunk=chunk, shard=shard, compression=recipe.compression),
                done=n_written,
                after_shard=after_shard,
            )
        write_matrix(writer, scratch, shuffle, kind, n_written, report, f"writing{of}")
    finally:
        scratch.close()


def layers_group(root: zarr.Group) -> zarr.Group:
    """The group of layers, made where it is not there."""
    group = root.require_group("layers")
    group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    return group


def build_tables(work: Work, recipe: Recipe, root: zarr.Group, order: ndarray, report: CellProgress) -> None:
    """Write obs, var, obsm and the facts, in the order that the matrices were written in."""
    total, n_seen = true_totals(recipe.sources, Totals.of(work.scratch, recipe.n_cells, recipe.n_cells))
    n_empty, n_new = int((total == 0).sum()), total.size
    report(n_new, n_new, "tables" + (f" ({n_empty} empty cells kept)" if n_empty else ""))
    source, source_row = recipe.obs.identity()
    barcodes = np.concatenate([source.obs.names() for source in recipe.sources])
    split, taken = split_names(n_new), None
    if recipe.base is not None:
        old = recipe.base.source.obs
        taken = old.names()
        total = np.concatenate([old.column(TOTAL).to_numpy(np.float64), total])
        n_seen = np.concatenate([old.column(N_GENES).to_numpy(np.int32), n_seen])
        split = np.concatenate([np.asarray(old.column(SPLIT).astype(str), dtype=object), split])
    names, is_renamed = cell_names(barcodes, source[-n_new:], source_row[-n_new:], taken)
    if taken is not None:
        names, barcodes = np.concatenate([taken, names]), np.concatenate([taken, barcodes])

    group = fresh_obs(root)
    write_names(group, names[order])
    # A million names are 100 MB, and only cells that were renamed have a use for their barcodes.
    original = barcodes if is_renamed else None
    del names, barcodes, taken
    give_back()

    def columns() -> Any:
        for name in recipe.obs.columns:
            column = take(recipe.obs.column(name), order)
            if name == "barcode" and original is not None and column.isna().any():
                column = column.astype(object).where(column.notna(), pd.Series(original[order]))
            yield name, column
        if original is not None and "barcode" not in recipe.obs.columns:
            yield "barcode", pd.Series(original[order])
        yield "store_uuid", one_category(work.uuid, order.size)
        yield "source", source.take(order)
        yield "source_row", source_row[order]
        yield SPLIT, pd.Categorical(split)  # in the store's order as it is
        yield TOTAL, total[order]
        yield N_GENES, n_seen[order]

    write_columns(group, columns())
    for name in ("var", "uns", "obsm"):
        if name in root:
            del root[name]
    every = recipe.sources if recipe.base is None else (recipe.base.source, *recipe.sources)
    first = every[:1] if recipe.base else every
    write_element(root, "var", plain_frame(var_table(first, recipe.genes, keeps_mask=recipe.base is not None)))
    obsm = root.create_group("obsm", attributes={"encoding-type": "dict", "encoding-version": "0.1.0"})
    for name in shared_obsm(first):
        write_obsm(obsm, name, every, order, work.scratch, recipe.budget.free // 4)
    facts = {
        "format": FORMAT,
        "uuid": work.uuid,
        **recipe.facts,
        "genes_sha256": genes_sha256(recipe.genes),
        "version": version("livelatent"),
        "mean_total": float(total.mean()),
    }
    finish(work.store, root, facts)


def take(column: "pd.Series[Any]", order: ndarray) -> "pd.Series[Any]":
    """A column in another order."""
    return column.take(order).reset_index(drop=True)


def true_totals(sources: Sequence[Source], totals: Totals) -> tuple[ndarray, ndarray]:
    """Total counts and genes seen of every cell, in source order, over all genes ever measured in it.

    A store of ours, or its export, may lack genes that its own source had; what it says of its cells does not.
    """
    total, n_seen, first = totals.total.values, totals.n_seen.values, 0
    for source in sources:
        here = slice(first, first + source.n_cells)
        if keeps_identity(source) and {TOTAL, N_GENES} <= set(source.obs.columns):
            total[here] = source.obs.column(TOTAL).to_numpy(np.float64)
            n_seen[here] = source.obs.column(N_GENES).to_numpy(np.int32)
        first = here.stop
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
