"""Threads that do what browsers ask for: in order, but nobody's click waits behind what reads expression."""

import queue
import threading
from collections.abc import Callable, Hashable

__all__ = ["Lanes"]


class Lanes[T]:
    """One thread per lane; within a lane, what came first is done first.

    Parameters
    ----------
    do
        Does one thing; it raises nothing.
    lane_of
        The lane of a thing. There are only a few, and each has its thread from its first thing on.
    """

    def __init__(self, do: Callable[[T], None], lane_of: Callable[[T], Hashable]) -> None:
        self._do, self._lane_of = do, lane_of
        self._lock = threading.Lock()
        self._is_closed = False
        self._lanes: dict[Hashable, queue.SimpleQueue[T | None]] = {}
        self._threads: list[threading.Thread] = []

    def put(self, thing: T) -> None:
        """Have it done soon; after `close` nothing is."""
        lane = self._lane_of(thing)
        with self._lock:
            if self._is_closed:
                return
            if lane not in self._lanes:
                waiting = self._lanes[lane] = queue.SimpleQueue()
                thread = threading.Thread(target=self._work, args=(waiting,), name=f"livelatent-{lane}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._lanes[lane].put(thing)

    def close(self, timeout_s: float = 5.0) -> None:
        """Finish what was asked for and end; a thing that takes longer is not waited for."""
        with self._lock:
            self._is_closed = True
            for lane in self._lanes.values():
                lane.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=timeout_s)

    def _work(self, waiting: "queue.SimpleQueue[T | None]") -> None:
        while (thing := waiting.get()) is not None:
            self._do(thing)
