"""What a run's thread is told: its phase, single steps while it is paused, and what to set between two steps."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from livelatent.train.run_status import Phase
from livelatent.train.settings import Change

__all__ = ["Control"]

Turn = Literal["step", "set", "end"]


class Control:
    """Between those who tell, and the one thread that asks whose turn it is."""

    def __init__(self) -> None:
        self.phase: Phase = "ready"
        self.changed = threading.Condition()
        """Guards all that is here; its waiters are told of every change."""
        self._asked: deque[Change] = deque()
        # Single steps: asked for, begun, done.
        self._granted = self._begun = self._done = 0

    # Those who tell

    def set(self, phase: Phase) -> None:
        """Go to a phase."""
        with self.changed:
            self.phase = phase
            self.changed.notify_all()

    def move(self, phase: Phase, *, out_of: tuple[Phase, ...]) -> None:
        """Go to a phase, if the present one is among `out_of`."""
        with self.changed:
            if self.phase in out_of:
                self.set(phase)

    def ask(self, change: Change, timeout_s: float) -> None:
        """Have something set before the next step; returns when it is, or after `timeout_s`."""
        with self.changed:
            self._asked.append(change)
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self._asked, timeout_s)

    def grant_step(self, timeout_s: float | None, is_alive: Callable[[], bool]) -> None:
        """Let a paused run do one step; returns when it is done, when it can't be any more, or after `timeout_s`."""
        with self.changed:
            self._granted += 1
            wanted = self._granted
            self.changed.notify_all()
            self.changed.wait_for(
                lambda: self._done >= wanted or self.phase != "paused" or not is_alive(), timeout=timeout_s
            )

    # The thread that trains

    def turn(self) -> Turn:
        """What comes next; waits while the run is paused and nobody asks for anything."""
        with self.changed:
            while True:
                if self._asked:
                    return "set"
                if self.phase == "training":
                    self._begun = self._done = self._granted
                    return "step"
                if self.phase != "paused":
                    return "end"
                if self._begun < self._granted:
                    self._begun += 1
                    return "step"
                self.changed.wait()

    def next_change(self) -> Change | None:
        """What was asked for first; it counts as set once `has_set` is called."""
        with self.changed:
            return self._asked[0] if self._asked else None

    def has_set(self) -> None:
        """The first change has been made."""
        with self.changed:
            self._asked.popleft()
            self.changed.notify_all()

    def has_stepped(self) -> None:
        """A step has been recorded."""
        if self._done < self._begun:
            with self.changed:
                self._done = self._begun
                self.changed.notify_all()
