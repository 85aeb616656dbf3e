"""What is known of labelled cells beside their place in a latent: what a flag's cells are held against."""

from dataclasses import dataclass

from livelatent.atlas.group_sums import GeneSums
from livelatent.judge.doublets import Doublets
from livelatent.judge.measures import KnownMeasures

__all__ = ["KnownCells"]


@dataclass(frozen=True, eq=False)
class KnownCells:
    """Types by their genes and by their cells' quality, whatever latent these were found in."""

    label_names: tuple[str, ...]
    genes: tuple[str, ...]
    """Of `sums`: all of the atlas."""
    sums: GeneSums
    """Of log expression, a group per label: for markers and the cell cycle."""
    measures: KnownMeasures | None
    """NaN where the cells have no counts; None where an earlier version fitted the reference."""
    doublets: Doublets | None
    """None where `measures` is None or all NaN."""
