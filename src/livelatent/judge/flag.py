"""One cluster of cells that fit nothing labelled, and why in a plain sentence."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.prototypes import Prototypes
from livelatent.judge.technical import Quality

__all__ = ["Flag", "rare_and_wide", "reason"]

# The second prototype is named too when it is less than this many times as far.
BETWEEN = 1.3
# A rare type's 95 % radius is a few cells' whim: said where it is this much wider than the usual type's.
RARE_CELLS = 50
WIDE = 1.5


@dataclass(frozen=True)
class Flag:
    """One cluster of cells that fit no prototype."""

    id: int
    """Counts from 1, by size."""
    rows: Rows
    """Store rows of `atlas`."""
    atlas: Atlas
    p_value: float
    """How often known cells alone would fill a cluster so, see `find_novel`."""
    batches: dict[str, int]
    """Cells per batch, largest first; empty without a batch column."""
    nearest: tuple[tuple[str, float], ...]
    """Known types, nearest first, and the distance to each in its own radii."""
    higher: tuple[str, ...]
    """Genes higher than in the nearest known type, most certain first."""
    lower: tuple[str, ...]
    reason: str
    """A plain sentence."""
    centroid: Float[ndarray, " latent"]
    """Of principal components where no network's latent was read."""
    quality: Quality | None = None
    """Depth, mitochondrial share, doublet score and cell cycle beside the nearest known type's; None where an earlier
    version fitted the reference."""

    @property
    def n_cells(self) -> int:
        """How many cells it has."""
        return len(self.rows)

    @property
    def is_probably_technical(self) -> bool:
        """Whether its cells' quality explains it, see `quality.technical`."""
        return self.quality is not None and bool(self.quality.technical)

    def __repr__(self) -> str:
        return f"Flag({self.id}: {self.n_cells:,} cells, p {self.p_value:.2g}. {self.reason})"


def rare_and_wide(prototypes: Prototypes, index: int, radii: float) -> int | None:
    """Cells of a type whose radius holds the cluster only because it is rare and wide; None where that is not so.

    Parameters
    ----------
    radii
        The cluster's distance to that type, in its radii.
    """
    n_cells = int(prototypes.count[index])
    is_wide = prototypes.scale[index] > WIDE * float(np.median(prototypes.scale))
    return n_cells if radii <= 1 and n_cells < RARE_CELLS and is_wide else None


def reason(
    nearest: tuple[tuple[str, float], ...],
    batches: dict[str, int],
    n_batches: int,
    quality: Quality | None = None,
    rare_cells: int | None = None,
) -> str:
    """Why these cells were flagged, in plain sentences.

    Parameters
    ----------
    n_batches
        Batches among all cells scored: one is no sign of a batch effect if there is only one.
    rare_cells
        Where the cluster lies inside the wide radius of a rare type (the nearest): how many cells that type has.

    Examples
    --------
    >>> reason((("B", 2.4), ("DC", 2.6)), {"107": 9}, 8)
    'Between B and DC, 2.4 of its radii from the nearest (B). All from 107: look for a batch effect before naming it.'
    """
    name, radii = nearest[0]
    if len(nearest) > 1 and nearest[1][1] < BETWEEN * radii:
        text = f"Between {name} and {nearest[1][0]}, {radii:.1f} of its radii from the nearest ({name})."
    else:
        text = f"Nearest: {name} ({radii:.1f} of its radii)."
    if rare_cells is not None:
        text += (
            f" It lies inside the wide radius of a rare type ({name}, {rare_cells} cells): perhaps it is {name}, of "
            "which few are labelled."
        )
    if quality is not None and quality.technical:
        text += f" Probably technical: {'; '.join(quality.technical)}."
    if quality is not None and quality.remarks:
        text += f" {'. '.join(quality.remarks)}."
    if len(batches) == 1 and n_batches > 1:
        text += f" All from {next(iter(batches))}: look for a batch effect before naming it."
    return text
