"""The background thread of a view: looks at the model now and then, one due thing at a time, at its share of a core."""

import logging
import threading
from collections.abc import Callable, Sequence

from livelatent.session.alarms import Alarms
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.layout import LayoutWorker
from livelatent.session.looks import Looks, Scene
from livelatent.session.pace import EVERY_S, Pace
from livelatent.session.retry import Retry
from livelatent.session.sight import Sight
from livelatent.session.watched import LASTING
from livelatent.threads import one_thread_here

__all__ = ["LAYOUT", "Lookout"]

log = logging.getLogger(__name__)

TICK_S = 0.2
RETRY_S = 10.0
"""After an error that no part of a look has reported."""
FIND_WHILE_TRAINING_CELLS = 20_000
"""Above it, flags wait for the end of training: the reference reads every cell."""
LOOKS_BEFORE_FIND = 3
BESIDE_TRAINING = 2.0
"""Times what it takes alone, an embedding takes while both cores train: 2.5 s of 20,000 cells beside 1.2."""
LAYOUT = "layout"
"""What the alarm is about that the map stays a PCA."""


class Lookout:
    """Knows when a look is due, and has it done.

    Parameters
    ----------
    looks
        What is done then.
    is_parted
        Whether the run is about to be replaced by another, so that looking at it is in vain.
    cpu_share
        The largest share of one core that looking at the model, layouts included, may take while it trains.
    """

    def __init__(self, looks: Looks, alarms: Alarms, *, is_parted: Callable[[], bool], cpu_share: float) -> None:
        self.pace = Pace(cpu_share, lambda: self._state == "training", self._layout_took)
        self.worker: LayoutWorker | None = None
        self.on_settled: Callable[[], None] | None = None
        """Called whenever nothing moves any more and all is up to date: by the background thread, or by `settle`."""
        self._looks, self._alarms, self._is_parted = looks, alarms, is_parted
        self._sight.map.may_take_s = self._may_take_s
        self._opening = threading.Lock()
        self._work = threading.Lock()
        """Held by whoever looks: the background thread, or `settle`."""
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked_at: tuple[object, ...] | None = None
        self._found_at: tuple[object, ...] | None = None
        self._settled_at: tuple[object, ...] | None = None
        self._looks_at_find = 0
        self._embedding_s = 0.0
        """What the last look took beside its layout."""
        self._wants_find = self._wants_place = False
        self._map_retry, self._find_retry = Retry(), Retry()
        self._state_seen = ""

    # Life

    def start(self) -> None:
        """Begin to look, in the background."""
        if self._thread is None:
            self.open_worker()
            self._thread = threading.Thread(target=self._watch, name="livelatent-session", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking and end the layout process."""
        self.leave()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)
        if self.worker is not None:
            self.worker.close()

    def leave(self) -> None:
        """Begin no further look; `close` waits for the one that is going on."""
        self._closed.set()
        self._wake.set()

    @property
    def is_closed(self) -> bool:
        """Whether no look will begin any more."""
        return self._closed.is_set()

    def follow(self, change: Callable[[], Scene]) -> None:
        """Look at something else from now on; `change` is called between two looks."""
        with self._work:
            self._looks.scene = change()
            self.look_again()
            self._found_at = None
            self._looks_at_find = self._sight.n_looks
            self._map_retry, self._find_retry = Retry(), Retry()
        self.wake()

    def wake(self) -> None:
        """See at once whether something is due."""
        self._wake.set()

    def open_worker(self) -> None:
        """Start the layout process, unless it runs or could not be started before."""
        with self._opening:
            if self.worker is not None or LAYOUT in self._alarms:
                return
            try:
                self.worker = LayoutWorker(min(self._sight.panel_cells, self._sight.atlas.n_cells))
            except OSError as error:
                log.exception("the layout process could not be started")
                what = f"The map is a PCA, not a UMAP: no layout process could be started ({error})."
                self._alarms.set(LAYOUT, what)
            self._sight.map.worker = self.worker

    # What is asked for

    def settle(self, novelties: Sequence[JudgedNovelty | None] | None = None, *, timeout_s: float = 120.0) -> None:
        """Bring everything up to date with the model as it stands, and wait for it: for pages and pictures.

        Parameters
        ----------
        novelties
            Scores of the run's atlas and the query where they are known already; None computes them for a
            trained model.
        timeout_s
            How long to wait for UMAP to warm up; 0 draws a PCA at once.
        """
        if timeout_s > 0:
            self.open_worker()
            if self.worker is not None:
                self.worker.wait_ready(timeout_s)
        with self._work:
            key = self._key()
            if novelties is not None:
                self._looks.take(novelties)
                self._look_if_stale()
                self._found_at = key
            elif self._looks.can_be_judged and self._found_at != key:
                self._find_now()
                self._found_at = key
            if (self._looked_at != key or self._is_rough()) and self._look() and self._state in LASTING:
                self._looked_at = self._key()
            self._looks.annotate()
        self._tell_settled()

    def find(self) -> None:
        """Look for flags with the model as it is now; at once without a watching thread, else soon."""
        if self._thread is None:
            with self._work:
                self._found_at = self._key()
                self._find_now()
            return
        self._wants_find = True
        self.wake()

    def place_all(self, *, wait: bool = True) -> None:
        """Place every cell on the map by its nearest cells of the panel, until the next layout.

        Parameters
        ----------
        wait
            Whether to return only when they are placed; else soon, in the background.
        """
        if wait or self._thread is None:
            with self._work:
                self.pace.timed(self._looks.all_cells)
            return
        self._wants_place = True
        self.wake()

    def look_again(self) -> None:
        """Let the next look come although the model stands where the last one saw it."""
        self._looked_at = None

    @property
    def is_up_to_date(self) -> bool:
        """Whether the last look saw the model as it stands."""
        return self._looked_at == self._key()

    def _look(self) -> bool:
        was_training = self._state == "training"
        is_well = self.pace.timed(self._looks.map)
        self._embedding_s = self.pace.own_s * (1.0 if was_training else BESIDE_TRAINING)
        return is_well

    def _find_now(self) -> bool:
        self._looks_at_find = self._sight.n_looks
        is_well = self._looks.flags()
        if is_well:
            self._look_if_stale()
        return is_well

    def _look_if_stale(self) -> None:
        """Flagged cells outside the panel ask for another look."""
        if self._sight.is_stale:
            self.look_again()

    # What is due

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                with self._work:
                    self._work_once()
                self._tell_settled()
            except Exception as error:
                # Every part of a look reports its own error; this is the rest, and the thread must live on.
                log.exception("the view's background thread failed")
                self._alarms.set("session", f"The view's background work failed: {type(error).__name__}: {error}")
                self.pace.rest(RETRY_S)
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _work_once(self) -> None:
        """Do what is due, at most one thing."""
        if self._is_parted():
            return
        key = self._key()
        is_busy = self._state in ("training", "stopping")
        if self._state != self._state_seen:
            # What could not be seen before a training began may be seen now.
            self._state_seen, self._map_retry, self._find_retry = self._state, Retry(), Retry()
        is_find_due = self._wants_find or (self._find_retry.may_try and self._is_find_due(key))
        is_look_due = (
            self._map_retry.may_try
            and not (is_busy and self.pace.is_resting)
            and (self._looked_at != key or (self._is_rough() and self.worker is not None and self.worker.is_ready))
        )
        if not (is_find_due or is_look_due or self._wants_place):
            return
        one_thread_here()  # the share is of one core
        # While it trains, flags are looked for right after a look, so that the next one comes in time.
        if self._wants_find or (is_find_due and not (is_busy and is_look_due)):
            self._wants_find = False
            if self._find_retry.note(self.pace.timed(self._find_now, in_instalments=True)):
                self._found_at = key
        elif is_look_due:
            if self._map_retry.note(self._look()):
                self._looked_at = key
        else:
            self._wants_place = False
            self.pace.timed(self._looks.all_cells, in_instalments=True)

    def _tell_settled(self) -> None:
        key = self._key()
        if self._state not in LASTING or self._looked_at != key or self._settled_at == key:
            return
        is_better_map_coming = self._is_rough() and self.worker is not None and self.worker.is_alive
        are_flags_coming = self._looks.can_be_judged and self._found_at != key and not self._find_retry.n_errors
        if self.on_settled is None or is_better_map_coming or are_flags_coming:
            return
        self._settled_at = key
        self.on_settled()

    def _is_find_due(self, key: tuple[object, ...]) -> bool:
        finder, status = self._looks.scene.finder, self._looks.scene.run.status
        if self._found_at == key or not finder.can_judge:
            return False
        if status.state in (*LASTING, "ready"):
            return finder.has_begun
        query = self._sight.query
        n_cells = self._sight.atlas.n_cells + (0 if query is None else query.n_cells)
        return (
            status.state == "training"
            and status.epoch >= 1
            and not self.pace.owed_s
            and n_cells <= FIND_WHILE_TRAINING_CELLS
            and self._sight.n_looks - self._looks_at_find >= LOOKS_BEFORE_FIND
        )

    @property
    def _sight(self) -> Sight:
        return self._looks.sight

    @property
    def _state(self) -> str:
        return self._looks.scene.run.status.state

    def _key(self) -> tuple[object, ...]:
        """Changes when the model has changed."""
        run = self._looks.scene.run
        # A second fit of a watched module may end at the step of the first.
        return (run.status.step, run.status.state in LASTING, len(run.history.marks))

    def _is_rough(self) -> bool:
        return bool(self._sight.note)

    def _may_take_s(self) -> float | None:
        """What a layout may take while it trains: so much that one comes every half minute, embedding included."""
        return EVERY_S * self.pace.cpu_share - self._embedding_s if self._state == "training" else None

    def _layout_took(self) -> tuple[float, float]:
        worker = self.worker
        return (0.0, 0.0) if worker is None else (worker.cpu_s, worker.waited_s)
