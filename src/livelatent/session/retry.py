"""After an error, when the same may be tried again."""

import time

__all__ = ["Retry"]

FIRST_S = 10.0
MOST_DOUBLINGS = 6
"""Ten minutes: what has failed so often will hardly work a second later, and each try writes to the log."""


class Retry:
    """Waits ten seconds after an error, and twice as long after each further one in a row."""

    def __init__(self) -> None:
        self.n_errors = 0
        """In a row."""
        self._not_before = 0.0

    @property
    def may_try(self) -> bool:
        """Whether enough time has gone by."""
        return not self.n_errors or time.monotonic() >= self._not_before

    def note(self, is_well: bool) -> bool:
        """Take note of how it went; whether it went well."""
        self.n_errors = 0 if is_well else self.n_errors + 1
        self._not_before = time.monotonic() + FIRST_S * 2 ** min(max(self.n_errors - 1, 0), MOST_DOUBLINGS)
        return is_well
