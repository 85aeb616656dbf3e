"""Ranks of every gene over all cells, summed up per group: what Wilcoxon's test needs, gene block by gene block."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.memory import parse_memory
from livelatent.atlas.passes import CHUNK_CELLS, logs_of, map_cells, n_local_threads
from livelatent.compiled import compiled
from livelatent.errors import MemoryLimitError
from livelatent.progress import CellProgress

VALUE_BYTES = 14
"""Per value of a block: itself (8) and its group (4)."""
SORT_BYTES = 24
"""Per value of the gene that a thread is ranking: its order, and the sort's own."""
CHUNK_VALUE_BYTES = 40
"""Per stored value of a chunk being read: counts, indices, their logarithms, and both by gene."""


@dataclass(frozen=True)
class RankSums:
    """Sums of ranks (from 1; ties share the mean of theirs) of each gene's x."""

    n_cells: Int64[ndarray, " group"]
    total: Float64[ndarray, "group gene"]
    ties: Float64[ndarray, " gene"]
    """Sum of t**3 - t over the runs of t equal values."""


def rank_sums(
    atlas: Atlas,
    group: Int[ndarray, " cell"],
    n_groups: int,
    rows: Rows,
    n_seen: Int[ndarray, " gene"],
    *,
    mean_total: float,
    memory: str | int,
    client: Any = None,
    progress: CellProgress | None = None,
) -> RankSums:
    """Rank each gene's x over `rows`, and sum the ranks up per group.

    Parameters
    ----------
    group
        One code for each of `rows`, none of them -1.
    n_seen
        In how many of `rows` each gene is seen: its other cells share the lowest rank, and are never held.
    memory
        Limit of what is held here: with less, genes come in more blocks, and each is a pass over the atlas.

    Raises
    ------
    MemoryLimitError
        If one gene and the chunks being read don't fit.
    """
    member_of = np.full(atlas.n_cells, -1, np.int32)
    member_of[rows] = group
    n_cells = np.bincount(group, minlength=n_groups).astype(np.int64)
    total, ties = np.zeros((n_groups, atlas.n_genes)), np.zeros(atlas.n_genes)
    blocks = list(_blocks(n_seen, _values_at_once(atlas, rows, n_seen, n_groups, memory)))

    logs = logs_of(atlas, mean_total)

    def by_gene(counts: sparse.csr_matrix, chunk: Rows) -> tuple[ndarray, ndarray, ndarray]:
        x = logs(counts, chunk)[:, first:stop].tocsc()
        x.eliminate_zeros()
        return x.data, member_of[chunk][x.indices], np.diff(x.indptr)

    for number, (first, stop) in enumerate(blocks, 1):
        values = np.empty(int(n_seen[first:stop].sum()))
        of = np.empty(values.size, np.int32)
        start = np.concatenate([[0], np.cumsum(n_seen[first:stop])]).astype(np.int64)
        free = start[:-1].copy()
        what = f"ranks, {number} of {len(blocks)} blocks of genes"
        for part, part_of, sizes in map_cells(by_gene, atlas, rows, client=client, progress=progress, what=what):
            compiled(_scatter)(part, part_of, sizes, free, values, of)
        _rank(values, of, start, n_cells, total[:, first:stop], ties[first:stop])
    return RankSums(n_cells, total, ties)


def _values_at_once(atlas: Atlas, rows: Rows, n_seen: Int[ndarray, " gene"], n_groups: int, memory: str | int) -> int:
    """How many values of a block the limit allows beside chunks and results."""
    chunk_values = CHUNK_CELLS * float(n_seen.sum()) / max(rows.size, 1)
    most = int(n_seen.max(initial=0))
    of_threads = n_local_threads() * (chunk_values * CHUNK_VALUE_BYTES + most * SORT_BYTES)
    used = of_threads + 8 * n_groups * atlas.n_genes + 4 * atlas.n_cells
    wanted = used + VALUE_BYTES * most
    limit = parse_memory(memory)
    if limit < wanted:
        least = math.ceil(wanted / 1e6)
        raise MemoryLimitError(
            f"memory={memory!r} is too little to rank one gene over {rows.size} cells of {atlas.path}: at least "
            f'{least}MB are needed. Pass memory="{least}MB" or more, or method="t-test", which ranks nothing.'
        )
    return int((limit - used) // VALUE_BYTES)


def _blocks(n_seen: Int[ndarray, " gene"], n_values: int) -> Iterator[tuple[int, int]]:
    """Stretches of genes with at most so many values, one gene at least."""
    first = held = 0
    for gene, n in enumerate(n_seen.tolist()):
        if gene > first and held + n > n_values:
            yield first, gene
            first, held = gene, 0
        held += n
    if first < len(n_seen):
        yield first, len(n_seen)


def _rank(
    values: Float[ndarray, " value"],
    of: Int[ndarray, " value"],
    start: Int64[ndarray, " pointer"],
    n_cells: Int64[ndarray, " group"],
    total: Float64[ndarray, "group gene"],
    ties: Float64[ndarray, " gene"],
) -> None:
    """Rank a block's genes, some on each thread; each gene is one thread's, so the sums have one order."""
    bounds = np.linspace(0, ties.size, n_local_threads() + 1).astype(np.int64)
    kernel = compiled(_sum_ranks)
    with ThreadPoolExecutor(n_local_threads()) as pool:
        parts = [
            pool.submit(kernel, values, of, start, n_cells, total, ties, int(first), int(stop))
            for first, stop in itertools.pairwise(bounds)
        ]
        for part in parts:
            part.result()


def _scatter(part: ndarray, part_of: ndarray, sizes: ndarray, free: ndarray, values: ndarray, of: ndarray) -> None:
    """Put a chunk's values, gene by gene, behind those that have come before."""
    done = 0
    for gene in range(sizes.size):
        for k in range(sizes[gene]):
            values[free[gene] + k] = part[done + k]
            of[free[gene] + k] = part_of[done + k]
        free[gene] += sizes[gene]
        done += sizes[gene]


def _sum_ranks(
    values: ndarray,
    of: ndarray,
    start: ndarray,
    n_cells: ndarray,
    total: ndarray,
    ties: ndarray,
    first_gene: int,
    stop_gene: int,
) -> None:
    all_cells = n_cells.sum()
    for gene in range(first_gene, stop_gene):
        own, own_of = values[start[gene] : start[gene + 1]], of[start[gene] : start[gene + 1]]
        order = np.argsort(own)
        # Cells without a count come first and tie; x is never below 0.
        n_zero = all_cells - own.size
        tied = float(n_zero)
        tie_sum = tied**3 - tied
        for group in range(n_cells.size):
            total[group, gene] = n_cells[group] * (tied + 1) / 2
        for k in range(own.size):
            total[own_of[k], gene] -= (tied + 1) / 2
        first = 0
        while first < own.size:
            stop = first + 1
            while stop < own.size and own[order[stop]] == own[order[first]]:
                stop += 1
            rank = n_zero + (first + 1 + stop) / 2
            for k in range(first, stop):
                total[own_of[order[k]], gene] += rank
            tied = float(stop - first)
            tie_sum += tied**3 - tied
            first = stop
        ties[gene] = tie_sum
