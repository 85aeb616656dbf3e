"""What a balanced minibatch is asked to be."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Minibatches of a few labels with as many cells of each, in place of each cell once an epoch.

    With K = `types` and M = `minibatch_cells` // K, a minibatch holds K labels and M cells of each; cells without a
    label are in none. Where cells come from is in `rings.py`, how they are drawn in `draws.py`, and what it costs in
    repeats is what `balance_cost` says.
    """

    types: int = 16
    """Labels per minibatch, K; an atlas with fewer gives all that it has, and more cells of each."""
    temperature: float = 0.0
    """A label is drawn with weight n ** temperature, n its cells: 0 is uniform, 1 by abundance. Within a label the
    same holds for batches (donors). Whatever it is, no label takes more than its M cells of a minibatch."""
    ring_cells: int = 512
    """Cells of a label that a group has at hand, its own and the latest of the groups before: more repeat less."""

    def __post_init__(self) -> None:
        for name in ("types", "ring_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a balance must be at least 1; got {getattr(self, name)}.")
        if not 0 <= self.temperature <= 1:
            raise ValueError(f"temperature must lie between 0 (uniform) and 1 (by abundance); got {self.temperature}.")
