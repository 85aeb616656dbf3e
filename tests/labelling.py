"""What another process does to a journal; a module of its own, so that such a process need not import a session."""

from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from livelatent.atlas.labels import LabelJournal


def journal(folder: Path, n_cells: int = 20) -> LabelJournal:
    names = np.array([f"cell {row}" for row in range(n_cells)], object)
    source = np.full(n_cells, "a.h5ad", object)
    return LabelJournal(folder, source, np.arange(n_cells), np.full(n_cells, None), names=names)


def hold(folder: Path, is_held: Event, may_end: Event) -> None:
    """Label a cell, and keep the lock until told to end."""
    other = journal(folder)
    other.label([0], "theirs")
    is_held.set()
    may_end.wait(60)
    other.close()


def label(folder: Path, name: str) -> None:
    other = journal(folder)
    other.label([5], name)
    other.close()
