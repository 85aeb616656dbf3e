"""How often a view may look at the model: no more than its share of wall time is taken from training."""

import time
from collections.abc import Callable

__all__ = ["Pace"]

SHORTEST_PAUSE_S = 1.0


class Pace:
    """Times each look, and says when the next may come.

    Parameters
    ----------
    cpu_share
        The largest share of wall time that looking may take while the run trains.
    is_training
        Whether it trains now.
    """

    def __init__(self, cpu_share: float, is_training: Callable[[], bool]) -> None:
        self._cpu_share = cpu_share
        self._is_training = is_training
        self._not_before = 0.0
        self.spent_s = 0.0
        """Wall time that looking has taken so far."""

    @property
    def is_resting(self) -> bool:
        """Whether the trainer is having its share of time."""
        return time.monotonic() < self._not_before

    def rest(self, pause_s: float) -> None:
        """Look no more for so long."""
        self._not_before = time.monotonic() + pause_s

    def timed(self, work: Callable[[], None]) -> None:
        """Do some work, and let the trainer have its share of time before the next."""
        # What began before training did takes nothing from it: the first look imports and compiles for seconds.
        was_training = self._is_training()
        started = time.monotonic()
        work()
        cost = time.monotonic() - started
        self.spent_s += cost
        pause = cost * (1 - self._cpu_share) / self._cpu_share if was_training else 0.0
        self.rest(max(SHORTEST_PAUSE_S, pause) if self._is_training() else 0.0)
