"""The cells of a recipe: who each of them is, and what is counted in them, in any order and any chunks."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy import sparse

from livelatent.atlas.layout import text_index
from livelatent.simulated.kernel import draw_counts
from livelatent.simulated.recipe import ATAC, CELLS, NO_LABEL, RNA, random_of
from livelatent.simulated.tables import SPREAD_LIMIT, Tables
from livelatent.simulated.truth import DEPTH_SPREAD, Assay, Truth

BLOCK_CELLS = 4096
"""Cells whose identities are drawn together, from a stream of the block's own."""
N_THREADS = min(8, os.cpu_count() or 1)
"""Chunks drawn at once; one more may wait for its turn to be written. How many changes no count."""
EVENT_BYTES = 24
"""Per event of a chunk: room for a value and an index while they are drawn, and what is kept and written of it."""


@dataclass(frozen=True)
class Cells:
    """Who the cells are; one entry per cell everywhere."""

    kind: ndarray
    batch: ndarray
    is_labelled: ndarray
    depth: ndarray
    """Factor on every mean, the batch's included; 0 where the cell is empty."""
    table: ndarray
    n_events: ndarray
    """How many events the cell proposes (see `kernel`)."""


def draw_cells(truth: Truth, assay: Assay, tables: Tables) -> Cells:
    """Draw everything about the cells but their counts, block after block."""
    n_cells = truth.recipe.n_cells
    blocks = [cell_block(truth, assay, tables, number) for number in range(-(-n_cells // BLOCK_CELLS))]
    return Cells(*(np.concatenate(parts)[:n_cells] for parts in zip(*blocks, strict=True)))


def cell_block(truth: Truth, assay: Assay, tables: Tables, number: int) -> tuple[ndarray, ...]:
    """One block's cells. Who they are comes from a stream that all assays share, so that their rows pair."""
    recipe = truth.recipe
    who = random_of(recipe.seed, CELLS, 0, number)
    how_deep = random_of(recipe.seed, CELLS, use_of(truth, assay), number)
    kind = who.choice(recipe.n_types, BLOCK_CELLS, p=truth.share).astype(np.int32)
    batch = who.integers(0, recipe.n_batches, BLOCK_CELLS).astype(np.int32)
    is_labelled = (who.random(BLOCK_CELLS) >= recipe.unlabelled) & ~np.isin(kind, recipe.hidden)
    is_empty = who.random(BLOCK_CELLS) < recipe.empty
    noise = np.clip(how_deep.normal(0, 1, BLOCK_CELLS), -SPREAD_LIMIT, SPREAD_LIMIT)
    depth = np.array(truth.batch_depth)[batch] * np.exp(DEPTH_SPREAD * noise - DEPTH_SPREAD**2 / 2)
    table = tables.table_of(kind, depth)
    n_events = how_deep.poisson(np.where(is_empty, 0, tables.rate[table])).astype(np.int32)
    return kind, batch, is_labelled, np.where(is_empty, 0, depth), table, n_events


def use_of(truth: Truth, assay: Assay) -> int:
    """The assay's own streams of random numbers."""
    return ATAC if assay is truth.atac else RNA


def by_donor(truth: Truth, cells: Cells) -> ndarray:
    """The cells' numbers as files have them: batch after batch, every other one sorted by type."""
    within = np.where(cells.batch % 2 == 0, cells.kind, 0)
    return np.lexsort((np.arange(cells.kind.size), within, cells.batch))


def chunks_of(cells: Cells, order: ndarray, max_events: int) -> Iterator[ndarray]:
    """Consecutive stretches of `order` that propose at most so many events, but one cell at least."""
    ends = np.cumsum(cells.n_events[order], dtype=np.int64)
    start = 0
    while start < order.size:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + max_events, side="right")))
        yield order[start:stop]
        start = stop


def draw_matrix(
    truth: Truth, assay: Assay, tables: Tables, cells: Cells, order: ndarray, max_events: int
) -> Iterator[tuple[ndarray, sparse.csr_matrix]]:
    """Yield cell numbers and their counts (float32) in the given order, chunks ahead being drawn in threads.

    `max_events` is for all that is in memory at once; it changes the chunks, and no count in them.
    """
    key = int(random_of(truth.recipe.seed, CELLS, use_of(truth, assay)).integers(0, 2**64, dtype=np.uint64))
    waiting: deque[tuple[ndarray, Future[sparse.csr_matrix]]] = deque()
    with ThreadPoolExecutor(N_THREADS, thread_name_prefix="livelatent-simulate") as threads:
        try:
            for numbers in chunks_of(cells, order, max_events // (N_THREADS + 1)):
                waiting.append((numbers, threads.submit(draw_chunk, key, tables, cells, numbers)))
                if len(waiting) > N_THREADS:
                    first, counts = waiting.popleft()
                    yield first, counts.result()
            while waiting:
                first, counts = waiting.popleft()
                yield first, counts.result()
        finally:
            for _, counts in waiting:
                counts.cancel()


def draw_chunk(key: int, tables: Tables, cells: Cells, numbers: ndarray) -> sparse.csr_matrix:
    """The counts of some cells, whatever their order."""
    n_features = tables.alias.shape[1]
    room = int(np.minimum(cells.n_events[numbers], n_features).sum(dtype=np.int64)) + 1
    data, indices = np.empty(room, np.float32), np.empty(room, np.int32)
    indptr = np.zeros(numbers.size + 1, np.int64)
    parts = (cells.table, cells.kind, cells.batch, cells.depth, cells.n_events)
    draw_counts(
        key,
        numbers.astype(np.int64),
        *(part[numbers] for part in parts),
        *(tables.depth, tables.threshold, tables.alias, tables.rise, tables.kept),
        *(data, indices, indptr),
    )
    n_values = int(indptr[-1])
    # Copies: a view would keep the room for every event.
    return sparse.csr_matrix(
        (data[:n_values].copy(), indices[:n_values].copy(), indptr), shape=(numbers.size, n_features)
    )


def obs_of(truth: Truth, cells: Cells, order: ndarray) -> pd.DataFrame:
    """What is known of the cells, and what is true of them."""
    types = [*truth.types, NO_LABEL]
    kind = cells.kind[order]
    label = np.where(cells.is_labelled[order], kind, len(truth.types))
    columns: dict[str, Any] = {
        "cell_type": named(label, types).remove_unused_categories(),
        "batch": named(cells.batch[order], truth.batches),
        "true_label": named(kind, truth.types),
        "true_depth": cells.depth[order].astype(np.float32),
    }
    names = [barcodes(order[start : start + BLOCK_CELLS]) for start in range(0, order.size, BLOCK_CELLS)]
    return pd.DataFrame(columns, index=text_index(np.concatenate(names)))


def named(codes: ndarray, names: Sequence[str]) -> pd.Categorical:
    """Codes as categories, all of them kept."""
    return pd.Categorical.from_codes(codes.tolist(), categories=text_index(names))


def barcodes(numbers: ndarray) -> ndarray:
    """A name of 16 bases for each cell, its own up to 4 ** 16 cells, that tells nothing."""
    # An odd factor makes this one-to-one; the letters are taken from it two bits at a time.
    mixed = (numbers.astype(np.uint64) * np.uint64(2_654_435_769) + np.uint64(1_013_904_223)) & np.uint64(2**32 - 1)
    letters = (mixed[:, None] >> np.arange(30, -1, -2, dtype=np.uint64)) & np.uint64(3)
    text = np.frombuffer(b"ACGT", np.uint8)[letters.astype(np.intp)]
    return np.asarray(np.char.add(text.view("S16")[:, 0].astype("U16"), "-1").astype(object))
