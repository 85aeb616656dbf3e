"""Genes that a query and a reference both measured, and what can be said by them alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import GeneMismatchError
from livelatent.judge.cell_cycle import CycleGenes, cycle_genes, measured_genes
from livelatent.judge.cycle_lists import PHASES

__all__ = ["SharedGenes", "cycle_of_shared", "shared_genes"]

# Fewer genes of a phase than this are no score.
MIN_CYCLE_GENES = 5


@dataclass(frozen=True)
class SharedGenes:
    """Genes of the same name in both, in the reference's order."""

    names: tuple[str, ...]
    in_reference: Int[ndarray, " shared"]
    in_query: Int[ndarray, " shared"]


def shared_genes(reference: Sequence[str], query: Sequence[str] | ndarray) -> SharedGenes:
    """Where the genes of both stand in each."""
    place = {str(gene): index for index, gene in enumerate(query)}
    own = np.array([index for index, gene in enumerate(reference) if gene in place], np.int64)
    names = tuple(reference[index] for index in own)
    return SharedGenes(names, own, np.array([place[name] for name in names], np.int64))


def cycle_of_shared(
    lists: Mapping[str, Sequence[str]], shared: SharedGenes, mean: Float[ndarray, " shared"]
) -> tuple[CycleGenes | None, tuple[str, ...]]:
    """The cycle's genes and controls among shared genes; none, and the reason in words, where these are too few."""
    found = measured_genes(lists, shared.names)
    for phase, own in zip(PHASES, found, strict=True):
        if len(own) < MIN_CYCLE_GENES:
            return None, (
                f"Nothing is said of the cell cycle: {len(own)} of the {len(lists[phase])} {phase} genes are measured "
                f"in query and reference both, and a score needs {MIN_CYCLE_GENES}.",
            )
    try:
        return cycle_genes(lists, shared.names, mean), ()
    except GeneMismatchError as error:
        return None, (f"Nothing is said of the cell cycle: {error}",)
