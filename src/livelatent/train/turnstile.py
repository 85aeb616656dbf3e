"""Whose turn it is: the thread that trains, or one that wants to look at the model between two steps."""

import contextlib
import threading
from collections.abc import Iterator


class Turnstile:
    """Lets others in between two steps, in turn: a thread that takes its lock again at once would keep it."""

    def __init__(self) -> None:
        self._queue = threading.Lock()
        self._busy = threading.Lock()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around one step of the thread that trains."""
        with self._queue:
            self._busy.acquire()
        try:
            yield
        finally:
            self._busy.release()

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """Around whatever another thread does between two steps."""
        with self._queue, self._busy:
            yield

    def wait_outside(self, timeout_s: float) -> None:
        """Wait until no step is under way, or for so long."""
        with self._queue:
            if self._busy.acquire(timeout=timeout_s):
                self._busy.release()
