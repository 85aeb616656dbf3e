"""What a simulated atlas is to be, and the seeded streams of random numbers that all of it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

NO_LABEL = "unassigned"
"""The label of hidden types' cells, and of cells that nobody has labelled."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides which cells an atlas holds; equal recipes give equal cells."""

    n_cells: int
    n_genes: int
    n_types: int = 8
    n_lineages: int | None = None
    """None: about the square root of `n_types`."""
    n_batches: int = 3
    rare: Mapping[int, float] = field(default_factory=dict)
    """The share of some types, by number; the others keep their proportions among each other."""
    hidden: tuple[int, ...] = ()
    """Types whose cells nobody has labelled."""
    unlabelled: float = 0.0
    """Share of the other cells without a label."""
    empty: float = 0.0
    """Share of cells without a single count."""
    genes_per_cell: float | None = None
    """Mean number of genes seen in a cell; None: a tenth of them."""
    mean_total: float | None = None
    """Mean counts per cell, instead of `genes_per_cell`."""
    n_peaks: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("n_cells", 1), ("n_genes", 20), ("n_types", 1), ("n_batches", 1), ("n_peaks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more; got {getattr(self, name)}.")
        if self.n_peaks > 20 * self.n_genes:
            raise ValueError(f"n_peaks may be 20 times the {self.n_genes} genes at most; got {self.n_peaks}.")
        if self.n_lineages is not None and not 1 <= self.n_lineages <= self.n_types:
            raise ValueError(f"n_lineages must lie in 1..n_types ({self.n_types}); got {self.n_lineages}.")
        for name, kinds in (("rare", tuple(self.rare)), ("hidden", self.hidden)):
            if any(not 0 <= kind < self.n_types for kind in kinds):
                raise ValueError(f"{name} names types by number, 0..{self.n_types - 1}; got {list(kinds)}.")
        if any(share <= 0 for share in self.rare.values()) or sum(self.rare.values()) >= 1:
            raise ValueError(f"the shares in `rare` must be above 0 and below 1 together; got {dict(self.rare)}.")
        if len(self.rare) == self.n_types:
            raise ValueError("`rare` names every type; leave at least one to be the rest.")
        for name in ("unlabelled", "empty"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share in [0, 1); got {getattr(self, name)}.")
        if self.mean_total is not None and self.genes_per_cell is not None:
            raise ValueError("give either `genes_per_cell` or `mean_total`: each fixes the other.")
        if self.mean_total is not None and self.mean_total <= 0:
            raise ValueError(f"mean_total must be above 0; got {self.mean_total}.")
        if self.genes_per_cell is not None and not 0 < self.genes_per_cell < 0.8 * self.n_genes:
            raise ValueError(
                f"genes_per_cell must lie between 0 and 0.8 of the {self.n_genes} genes; got {self.genes_per_cell}."
            )


def random_of(seed: int, *use: int) -> np.random.Generator:
    """The stream of random numbers for one use of a seed; streams of different uses are independent."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=use)))


TRUTH, RNA, ATAC, CELLS = range(4)
"""First numbers of `use`."""
