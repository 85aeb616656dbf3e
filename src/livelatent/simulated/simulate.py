"""Atlases of any size with a ground truth, as a store, as an `.h5ad`, or in memory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy import sparse

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.memory import parse_memory
from livelatent.atlas.layout import beside
from livelatent.atomic import write_text
from livelatent.errors import MemoryLimitError, StoreError
from livelatent.paths import local_path, store_path
from livelatent.progress import CellProgress, shown
from livelatent.simulated.cells import EVENT_BYTES, Cells, by_donor, draw_cells, draw_matrix, obs_of
from livelatent.simulated.h5ad import write_h5ad
from livelatent.simulated.recipe import Recipe
from livelatent.simulated.store import write_store
from livelatent.simulated.tables import Tables, table_bytes, tables_of
from livelatent.simulated.truth import Assay, Truth, truth_of

if TYPE_CHECKING:
    from anndata import AnnData

Order = Literal["random", "donors"]

BASE_BYTES = 96_000_000
CELL_BYTES = 350
"""Per cell: who it is, and its row of obs while it is written (a store of 1,000,000 cells instead of 100,000)."""
MOST_EVENTS = 12_000_000
"""In memory at once; more is no faster."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """One assay of one recipe, drawn but for its counts."""

    truth: Truth
    assay: Assay
    tables: Tables
    cells: Cells
    order: ndarray
    """Cell numbers, row after row."""
    max_events: int
    shard_bytes: int

    def matrix(self) -> Iterator[sparse.csr_matrix]:
        """Consecutive rows of counts, float32."""
        drawn = draw_matrix(self.truth, self.assay, self.tables, self.cells, self.order, self.max_events)
        return (counts for _, counts in drawn)

    @property
    def values_per_cell(self) -> float:
        """Mean number of stored values, from a sample of the cells."""
        some = slice(0, 200)
        kind, batch, depth = (array[some] for array in (self.cells.kind, self.cells.batch, self.cells.depth))
        at_mean = self.assay.mean[kind] * self.assay.effect[batch] * depth[:, None] / self.assay.dispersion
        return float((1 - np.exp(-self.assay.dispersion * np.log1p(at_mean))).sum() / kind.size)

    def obs(self) -> pd.DataFrame:
        """The rows' table."""
        return obs_of(self.truth, self.cells, self.order)


def simulate(
    target: str | os.PathLike[str] | None = None,
    n_cells: int = 10_000,
    n_genes: int = 2_000,
    *,
    n_types: int = 8,
    n_lineages: int | None = None,
    n_batches: int = 3,
    rare: Mapping[int, float] | None = None,
    hidden: Sequence[int] = (),
    unlabelled: float = 0.0,
    empty: float = 0.0,
    genes_per_cell: float | None = None,
    mean_total: float | None = None,
    n_peaks: int = 0,
    assay: Literal["rna", "atac"] = "rna",
    seed: int = 0,
    order: Order = "random",
    compression: Literal["gzip"] | None = None,
    memory: str | int = "1GB",
    overwrite: bool = False,
    progress: CellProgress | bool | None = None,
) -> "Atlas | Path | AnnData":
    r"""Make an atlas whose truth is known: negative-binomial counts of types in a tree, in batches.

    Parameters
    ----------
    target
        `NAME.h5ad` for a file, any other name for a store, None for an AnnData in memory: the same cells in each.
    n_types, n_lineages
        Types, as leaves of a tree of lineages; each type and each lineage has marker genes of its own.
    rare
        The share of some types, by number: `{7: 0.001}`.
    hidden
        Types, by number, whose cells have the label `"unassigned"`; `obs["true_label"]` keeps the truth.
    unlabelled, empty
        Shares of the cells that have no label, and that have no counts.
    genes_per_cell, mean_total
        Either the mean number of genes seen in a cell (by default a tenth of them) or its mean counts.
    n_peaks, assay
        With peaks, `assay="atac"` writes the fragments in them for the same cells in the same order: call twice.
    order
        How an `.h5ad` has its cells: as drawn, or `"donors"`: batch after batch, every other one sorted by type.
    compression
        Of an `.h5ad`.
    memory
        Limit for what is held at once. The interpreter and its libraries (about 0.3 GB) come on top.
    progress
        Called often with cells done, cells in all, and what is being done; by default a bar in a terminal or notebook.

    Returns
    -------
    The Atlas, the path of the `.h5ad`, or the AnnData. Obs: `cell_type`, `batch`, `true_label`, `true_depth`. The truth
    (tree, shares, markers, batch effects, dispersions) lies beside a file or store as `NAME.truth.json`, and as text
    in `uns["truth"]` of an AnnData.

    Raises
    ------
    ValueError
        If the arguments contradict each other.
    MemoryLimitError, StoreExistsError, DiskSpaceError, StoreBusyError
        As `ingest`.

    Notes
    -----
    A count has mean :math:`\mu = d\,m\,e` (cell depth, mean of its type, effect of its batch on the gene) and variance
    :math:`\mu + \mu^2 / r` with a dispersion :math:`r` per gene, and stops at 65,535. Equal arguments give equal
    cells whatever `target`, `memory` and `order` are, and the first cells of a larger atlas are those of a smaller
    one. Cells are independent of their neighbours, so a store's rows need no shuffle. About 2 % of the genes, and
    one at least, are 0 everywhere; mitochondrial genes have their human names and 6 % of the counts.
    """
    if order == "donors" and (target is None or Path(target).suffix != ".h5ad"):
        raise ValueError('order="donors" is for an .h5ad: it is what ingest has to shuffle. Leave it out.')
    if assay == "atac" and n_peaks == 0:
        raise ValueError('assay="atac" needs peaks: say how many with n_peaks.')
    recipe = Recipe(
        n_cells=n_cells,
        n_genes=n_genes,
        n_types=n_types,
        n_lineages=n_lineages,
        n_batches=n_batches,
        rare=dict(rare or {}),
        hidden=tuple(hidden),
        unlabelled=unlabelled,
        empty=empty,
        genes_per_cell=genes_per_cell,
        mean_total=mean_total,
        n_peaks=n_peaks,
        seed=seed,
    )
    simulation = prepared(recipe, assay, order, memory)
    if target is None:
        return in_memory(simulation)

    truth, var = simulation.truth.to_json(), simulation.assay.var
    with shown(progress) as report:

        def writing(n_done: int) -> None:
            report(n_done, n_cells, "writing")

        if Path(target).suffix == ".h5ad":
            path = local_path(target, StoreError)
            write_h5ad(path, simulation.matrix(), simulation.obs, var, compression, writing)
            write_text(path.with_suffix(".truth.json"), truth)
            return path
        path = store_path(target, StoreError)
        atlas = write_store(
            path,
            simulation.matrix(),
            simulation.obs,
            var,
            n_cells=n_cells,
            values_per_cell=simulation.values_per_cell,
            shard_bytes=simulation.shard_bytes,
            recipe=repr((recipe, assay)),
            overwrite=overwrite,
            report=writing,
        )
    write_text(beside(path, "truth.json"), truth)
    return atlas


def prepared(recipe: Recipe, assay: str, order: Order, memory: str | int) -> Simulation:
    """Everything but the counts, and what the memory left is for.

    Raises
    ------
    MemoryLimitError
        If the tables, the cells' own facts and one cell's counts need more.
    """
    limit = parse_memory(memory)
    n_features = recipe.n_peaks if assay == "atac" else recipe.n_genes
    held = BASE_BYTES + CELL_BYTES * recipe.n_cells
    held += table_bytes(recipe.n_types, recipe.n_batches, recipe.n_genes + recipe.n_peaks)
    least = held + 4 * EVENT_BYTES * n_features
    if limit < least:
        raise MemoryLimitError(
            f"memory={memory!r} is too little for {recipe.n_cells} cells x {n_features} features of {recipe.n_types} "
            f'types: at least {-(-least // 10**6)}MB are needed. Pass memory="{-(-least // 10**6)}MB" or more.'
        )
    truth = truth_of(recipe)
    seen = truth.rna if truth.atac is None or assay == "rna" else truth.atac
    tables = tables_of(truth, seen)
    cells = draw_cells(truth, seen, tables)
    return Simulation(
        truth=truth,
        assay=seen,
        tables=tables,
        cells=cells,
        order=by_donor(truth, cells) if order == "donors" else np.arange(recipe.n_cells),
        max_events=min(MOST_EVENTS, (limit - held) // 2 // EVENT_BYTES),
        shard_bytes=(limit - held) // 2,
    )


def in_memory(simulation: Simulation) -> "AnnData":
    """All of it as an AnnData."""
    import anndata

    from livelatent.atlas.elements import quiet_anndata

    counts = sparse.vstack(list(simulation.matrix()), format="csr")
    with quiet_anndata():
        return anndata.AnnData(
            counts,
            obs=simulation.obs(),
            var=simulation.assay.var.copy(),
            uns={"truth": simulation.truth.to_json()},
        )
