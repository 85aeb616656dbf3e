"""How much of a loss term's weight counts, over a stage: warm-up and cyclical annealing."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The share of a weight that counts: 0 while waiting, then a straight rise to 1, once or again and again.

    It is a function of the epoch alone, so a resumed run needs nothing else to go on as before.

    Examples
    --------
    >>> warm_up = Schedule(rise_epochs=4)
    >>> [warm_up.share_at(epoch) for epoch in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    >>> cycles = Schedule(wait_epochs=1, rise_epochs=2, cycle_epochs=4)
    >>> [cycles.share_at(epoch) for epoch in (0.5, 2, 3, 4.5, 5, 6)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]

    Notes
    -----
    Warm-up is that of Sonderby et al. (2016); cycles are those of Fu et al. (2019), as SAILER has them.
    """

    wait_epochs: float | int = 0.0
    """Epochs at 0 before the first rise."""
    rise_epochs: float | int = 0.0
    """Epochs from 0 to 1; none begins at 1."""
    cycle_epochs: float | int | None = None
    """From the beginning of one rise to that of the next; None rises once."""

    def __post_init__(self) -> None:
        if min(self.wait_epochs, self.rise_epochs) < 0 or (self.cycle_epochs is not None and self.cycle_epochs <= 0):
            raise ValueError(f"a schedule's epochs are 0 or more, and those of a cycle more than 0; got {self}.")

    def share_at(self, epoch: float | int) -> float:
        """The share, `epoch` epochs (a step is a fraction of one) into the stage."""
        since = epoch - self.wait_epochs
        if since < 0:
            return 0.0
        if self.cycle_epochs is not None:
            since %= self.cycle_epochs
        return min(since / self.rise_epochs, 1.0) if self.rise_epochs else 1.0

    def scaled(self, factor: float | int) -> "Schedule":
        """The same course in `factor` times as many epochs."""
        return dataclasses.replace(
            self,
            wait_epochs=self.wait_epochs * factor,
            rise_epochs=self.rise_epochs * factor,
            cycle_epochs=None if self.cycle_epochs is None else self.cycle_epochs * factor,
        )
