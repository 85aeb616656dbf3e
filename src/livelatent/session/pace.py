"""How often a view may look at the model: no more than its share of a core is taken from training.

The map is to come every half minute all the same, so what takes longer than a look (flags, placing all cells) is paid
off by the looks after it, in instalments.
"""

import time
from collections.abc import Callable

__all__ = ["EVERY_S", "Pace"]

SHORTEST_PAUSE_S = 1.0
EVERY_S = 25.0
"""From look to look, where the share allows it; what a look takes varies, and the promise is half a minute."""
LATEST_S = 29.0
"""From look to look while something is owed."""
PAYING = 1.25
"""Where looks alone come later than that: so much later still that what is owed is paid at last."""
LEAST_SHARE, MOST_SHARE = 0.01, 1.0


class Pace:
    """Times each look, and says when the next may come.

    Parameters
    ----------
    cpu_share
        The largest share of one core that looking may take while the run trains.
    is_training
        Whether it trains now.
    helper
        CPU seconds that a helping process (the layout's) has taken so far, and seconds that were spent waiting for it:
        what it takes counts, the waiting does not.

    Notes
    -----
    What is done in this process counts by the clock, not by CPU time: training waits for the interpreter's lock as long
    as a look holds it, and a look may use several threads.
    """

    def __init__(
        self,
        cpu_share: float,
        is_training: Callable[[], bool],
        helper: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0),
    ) -> None:
        self._is_training = is_training
        self._helper = helper
        self._cpu_share = _checked(cpu_share)
        self._not_before = 0.0
        self._last: tuple[float, float, float] | None = None
        """When the last look in training began, what it cost, and what was owed beside it."""
        self.owed_s = 0.0
        """CPU time that was taken beyond the share so far, and is still to be rested."""
        self.spent_s = 0.0
        """CPU time that looking has taken so far."""
        self.cost_s: float | None = None
        """Of the last look."""
        self.own_s = 0.0
        """What of it was not the helping process."""

    @property
    def cpu_share(self) -> float:
        """The largest share of one core that looking may take."""
        return self._cpu_share

    @cpu_share.setter
    def cpu_share(self, share: float | int) -> None:
        self._cpu_share = _checked(share)
        if self._last is not None:
            self._rest_after(*self._last)

    @property
    def is_resting(self) -> bool:
        """Whether the trainer is having its share of time."""
        return time.monotonic() < self._not_before

    @property
    def next_s(self) -> float | None:
        """How long until the next look may come; None while nothing trains."""
        return max(0.0, self._not_before - time.monotonic()) if self._is_training() else None

    def rest(self, pause_s: float) -> None:
        """Look no more for so long."""
        self._not_before = time.monotonic() + pause_s

    def timed[R](self, work: Callable[[], R], *, in_instalments: bool = False) -> R:
        """Do some work, and let the trainer have its share of time before the next look; what the work gave.

        Parameters
        ----------
        in_instalments
            Whether the next look need not wait until this is paid: it and those after it pay it off.
        """
        # What began before training did takes nothing from it: the first look imports and compiles for seconds.
        was_training = self._is_training()
        started = time.monotonic()
        cpu_before, waited_before = self._helper()
        result = work()
        cpu, waited = self._helper()
        self.own_s = max(0.0, time.monotonic() - started - (waited - waited_before))
        self.cost_s = self.own_s + (cpu - cpu_before)
        self.spent_s += self.cost_s
        if not (was_training and self._is_training()):
            self._last, self.owed_s = None, 0.0
            self.rest(SHORTEST_PAUSE_S if self._is_training() else 0.0)
            return result
        if in_instalments:
            began, cost_s, owed_s = self._last or (started, 0.0, 0.0)
            self._last = began, cost_s, owed_s + self.cost_s
        else:
            self._last = started, self.cost_s, self.owed_s
        self._rest_after(*self._last)
        return result

    def _rest_after(self, started: float, cost_s: float, owed_s: float) -> None:
        """From the begin of one look to that of the next, looking takes its share, or less and pays what is owed."""
        wanted = (cost_s + owed_s) / self._cpu_share
        pause = min(wanted, max(PAYING * cost_s / self._cpu_share, LATEST_S))
        self.owed_s = 0.0 if pause == wanted else cost_s + owed_s - pause * self._cpu_share
        self._not_before = max(started + pause, time.monotonic() + SHORTEST_PAUSE_S)


def _checked(share: float | int) -> float:
    if not LEAST_SHARE <= share <= MOST_SHARE:
        raise ValueError(f"the view's share of a core is between {LEAST_SHARE} and {MOST_SHARE}; got {share}.")
    return float(share)
