"""A run as a person sees it: always the latest map, prototypes and flags, within a budget of time.

One background thread looks at the model now and then; `topic()` gives what it saw, at any moment and from any
thread. No Jupyter here: the widget, the offline page and the tests are thin views of this.
"""

import atexit
import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.atlas.atlas import Atlas
from livelatent.errors import GeneMismatchError, LabelError
from livelatent.session.acts import Drive, acts_of
from livelatent.session.board import Board, JudgedNovelty, Place, Saved
from livelatent.session.board_flag import BoardFlag
from livelatent.session.commands import Answer, Commands
from livelatent.session.layout import LayoutWorker
from livelatent.session.look import (
    Look,
    Predicted,
    centroids_of,
    empty_map,
    latent_map,
    look_at,
    nearest_cells,
    prototypes_of,
)
from livelatent.session.moving_map import MovingMap
from livelatent.session.pace import Pace
from livelatent.session.panel import Panel, choose_panel
from livelatent.session.prototype_table import drift_between
from livelatent.session.state import (
    Can,
    Curve,
    Curves,
    LatentMap,
    Mark,
    PrototypeView,
    Status,
    Topic,
)
from livelatent.train.run import Run

__all__ = ["LiveSession"]

log = logging.getLogger(__name__)

TICK_S = 0.2
RETRY_S = 10.0
"""After an error in the same look, unless the model has moved on and been paid for."""
FIND_WHILE_TRAINING_CELLS = 20_000
"""Above it, flags wait for the end of training: the reference reads every cell."""
LOOKS_BEFORE_FIND = 3
LASTING = ("done", "stopped", "failed")
LAYOUTS_KEPT = 64
NO_LABELS = (
    "No label among the training cells, or none among the calibration cells: there are no flags and no predicted "
    "types. Cells can be named here all the same."
)
DRIFT = "prototype drift"
"""A curve beside the losses: how far prototypes went from look to look, see `PrototypeView.drift`."""


class LiveSession:
    """Watches a run and keeps what a view shows up to date.

    Parameters
    ----------
    query
        Another atlas, embedded and scored with the run's; its labels go to its own journal.
    panel_cells
        How many cells the map shows.
    cpu_share
        The largest share of wall time that looking at the model may take while it trains.
    """

    def __init__(
        self,
        run: Run,
        query: Atlas | None = None,
        *,
        panel_cells: int = 20_000,
        cpu_share: float = 0.15,
        target_fpr: float = 0.05,
    ) -> None:
        self.run, self.query = run, query
        self.atlas: Atlas = run.atlas
        self.panel_cells = panel_cells
        atlases = [self.atlas] if query is None else [self.atlas, query]
        places = [Place(one.path.name, one.n_cells, one.labels) for one in atlases]
        self.board = Board(places, target_fpr=target_fpr)
        self.commands = Commands(acts_of(self))
        self._lock = threading.RLock()
        self._work = threading.Lock()
        """Held by whoever looks: the background thread, or `settle`."""
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker: LayoutWorker | None = None
        self._map = MovingMap()
        self._look: Look | None = None
        self._before: dict[str, ndarray] | None = None
        self._drift: list[tuple[int, float]] = []
        self._prototypes = PrototypeView()
        self._prototypes_key: tuple[int, int] = (-1, -1)
        self._looks = 0
        self._looked_at: tuple[object, ...] | None = None
        self._found_at: tuple[object, ...] | None = None
        self._looks_at_find = 0
        self._annotated: tuple[int, Predicted] | None = None
        self._judged: Any = None
        self._query_fits = True
        self._wants_find = False
        self._pace = Pace(cpu_share, lambda: self.run.status.state == "training")
        self._alarms: dict[str, str] = {}
        self._layout_sha256: dict[int, str] = {}
        self._status_seen: tuple[Status, int] = (Status(), 0)
        self._curves_seen: tuple[tuple[object, ...], int] = ((), 0)

    # Life

    def start(self) -> None:
        """Begin to look, in the background."""
        if self._thread is None:
            self._open_worker()
            self._thread = threading.Thread(target=self._watch, name="livelatent-session", daemon=True)
            # A daemon thread inside torch may crash an interpreter that is going away, so it is ended first.
            atexit.register(self.close)
            self._thread.start()

    def close(self) -> None:
        """Stop looking and end the layout process; labels are on disk already."""
        atexit.unregister(self.close)
        self._closed.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)
        if self._worker is not None:
            self._worker.close()

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
            self._open_worker()
            if self._worker is not None:
                self._worker.wait_ready(timeout_s)
        with self._work:
            key = self._key()
            if novelties is not None:
                self._take(novelties)
                self._found_at = key
            elif self.run.status.state in LASTING and self._found_at != key and self._can_judge:
                self._attempt("flags", self._find_now)
            if self._looked_at != key or self._is_rough():
                self._attempt("map", self._look_now)
            self._annotate()

    @property
    def spent_s(self) -> float:
        """Wall time that looking has taken so far."""
        return self._pace.spent_s

    def _open_worker(self) -> None:
        with self._lock:
            if self._worker is not None or "layout" in self._alarms:
                return
            try:
                self._worker = LayoutWorker(min(self.panel_cells, self.atlas.n_cells))
            except OSError as error:
                log.exception("the layout process could not be started")
                self._alarms["layout"] = f"The map is a PCA, not a UMAP: no layout process could be started ({error})."
            self._map.worker = self._worker

    # Looking, in the background

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                with self._work:
                    self._work_once()
            except Exception as error:
                # Every part of a look reports its own error; this is the rest, and the thread must live on.
                log.exception("the view's background thread failed")
                self._alarms["session"] = f"The view's background work failed: {type(error).__name__}: {error}"
                self._pace.rest(RETRY_S)
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _work_once(self) -> None:
        """Do what is due, at most one thing."""
        key = self._key()
        is_busy = self.run.status.state in ("training", "stopping")
        if self._pace.is_resting and not (self._wants_find or (not is_busy and self._found_at != key)):
            return
        if self._wants_find or self._is_find_due(key):
            self._wants_find = False
            self._pace.timed(lambda: self._attempt("flags", self._find_now))
            self._found_at = key
        elif self._looked_at != key or (self._is_rough() and self._worker is not None and self._worker.is_ready):
            self._pace.timed(lambda: self._attempt("map", self._look_now))
            self._looked_at = key

    @functools.cached_property
    def _can_judge(self) -> bool:
        """Whether there are types to hold cells against: some models learn without a label."""
        return all(len(self.atlas.rows(split, labelled=True)) for split in ("train", "calibration"))

    def _is_find_due(self, key: tuple[object, ...]) -> bool:
        if self._found_at == key or not self._can_judge:
            return False
        state = self.run.status.state
        if state in LASTING:
            return self.run.status.step > 0
        n_cells = self.atlas.n_cells + (0 if self.query is None else self.query.n_cells)
        return (
            state == "training"
            and self.run.status.epoch >= 1
            and n_cells <= FIND_WHILE_TRAINING_CELLS
            and self._looks - self._looks_at_find >= LOOKS_BEFORE_FIND
        )

    def _key(self) -> tuple[object, ...]:
        """Changes when the model has changed."""
        status = self.run.status
        return (status.step, status.state in LASTING)

    def _is_rough(self) -> bool:
        return self._look is not None and bool(self._look.layout.note)

    def _attempt(self, what: str, work: Callable[[], None]) -> None:
        """Do one part of a look; an error is logged and shown until the part works again."""
        try:
            work()
        except Exception as error:
            log.exception("the %s could not be brought up to date", what)
            message = str(error) or type(error).__name__
            with self._lock:
                self._alarms[what] = f"The {what} could not be brought up to date: {message}"
        else:
            with self._lock:
                self._alarms.pop(what, None)

    def _model(self) -> tuple[Any, int]:
        """A model that nobody trains, and its step."""
        if self.run.status.state in LASTING:
            return self.run.model, self.run.status.step
        snapshot = self.run.snapshot()
        return snapshot.model, snapshot.step

    def _look_now(self) -> None:
        model, step = self._model()
        try:
            look = look_at(model, step, self.atlas, self.query, self._panel(), self._map)
        except GeneMismatchError as error:
            if self.query is None or not self._query_fits:
                raise
            # The run's own atlas is worth seeing without it.
            log.warning("the query is not shown: %s", error)
            self._query_fits = False
            self._alarms["query"] = f"The query is not shown: {error}"
            look = look_at(model, step, self.atlas, self.query, self._panel(), self._map)
        with self._lock:
            if self._look is not None and self._look.step != look.step:
                self._before = centroids_of(self._look)
                drift = drift_between(self._before, centroids_of(look))
                if drift is not None and look.step > self._look.step:
                    self._drift.append((look.step, drift))
            self._look = look
            self._looks += 1
            self._layout_sha256[look.layout.number] = look.layout.sha256
            for old in sorted(self._layout_sha256)[:-LAYOUTS_KEPT]:
                del self._layout_sha256[old]
        self._looked_at = self._key() if self.run.status.state in LASTING else self._looked_at

    def _panel(self) -> Panel:
        """The panel, chosen again only when a flag has cells that it lacks."""
        kept: list[list[ndarray]] = [[], []]
        for flag in self.board.flags:
            kept[int(flag.is_query)].append(flag.rows)
        keep, keep_query = (np.concatenate([np.zeros(0, np.int64), *some]) for some in kept)
        last = None if self._look is None else self._look.panel
        n_query = self.query.n_cells if self.query is not None and self._query_fits else 0
        is_complete = last is not None and np.isin(keep, last.rows).all() and np.isin(keep_query, last.query_rows).all()
        if last is not None and is_complete and bool(len(last.query_rows)) == bool(n_query):
            return last
        return choose_panel(
            self.atlas.label,
            n_query,
            n_cells=self.panel_cells,
            shown=self.atlas.kept,
            shown_query=self.query.kept if self.query is not None and n_query else None,
            keep=keep,
            keep_query=keep_query,
            number=1 if last is None else last.number + 1,
        )

    def _find_now(self) -> None:
        from livelatent.judge.flags import find_novel
        from livelatent.judge.reference import fit_reference

        model, _ = self._model()
        if self.run.status.state not in LASTING:
            # Judge keeps what no weight changes (PCA, regressions on expression) with the model's object.
            if self._judged is None:
                self._judged = model
            else:
                self._judged.load_state_dict(model.state_dict())
                model = self._judged
        self._looks_at_find = self._looks
        fit_reference(model, self.atlas)
        found = [find_novel(model, self.atlas, target_fpr=self.board.target_fpr)]
        if self.query is not None and self._query_fits:
            found.append(find_novel(model, self.query, target_fpr=self.board.target_fpr))
        self._take(found, model)
        self._annotate()

    def _take(self, novelties: Sequence[JudgedNovelty | None], model: Any = None) -> None:
        """Show these scores; flagged cells outside the panel ask for another look."""
        padded = [*novelties, *[None] * (len(self.board.places) - len(novelties))]
        scored = [novelty for novelty in padded if novelty is not None]
        if scored:
            self.board.target_fpr = float(scored[0].target_fpr)
        self.board.show(padded, (self.run.model if model is None else model).sha256())
        if self._look is not None and self._panel() is not self._look.panel:
            self._looked_at = None

    def _annotate(self) -> None:
        """Replace the nearest prototype by the classifier's prediction once there is a classifier."""
        look = self._look
        if look is None or self.run.status.state not in LASTING or self.run.status.step == 0 or not self._can_judge:
            return
        from livelatent.judge.annotator import label_cells, load_annotator

        # A find has just fitted the reference, so no encoder is trained for this.
        model = self.run.model
        annotator = load_annotator(model)
        names: list[str] = list(map(str, label_cells(annotator, model, self.atlas, look.panel.rows)["label"]))
        if self.query is not None and len(look.panel.query_rows):
            names += map(str, label_cells(annotator, model, self.query, look.panel.query_rows)["label"])
        known = tuple(sorted(set(names)))
        code_of = {name: code for code, name in enumerate(known)}
        predicted = Predicted(names=known, code=np.array([code_of[name] for name in names], np.int64))
        with self._lock:
            self._annotated = (look.layout.number, predicted)
            self._looks += 1

    # What is shown

    def versions(self) -> dict[str, int]:
        """Per topic a number that grows with every change."""
        with self._lock:
            status, seen = self.status(), self._status_seen
            if status != seen[0]:
                self._status_seen = (status, seen[1] + 1)
            key = (status.step, status.epoch, status.state, status.stage, len(self._drift))
            if key != self._curves_seen[0]:
                self._curves_seen = (key, self._curves_seen[1] + 1)
            board, looks = self.board.version, self._looks
            return {
                "status": self._status_seen[1],
                "curves": self._curves_seen[1],
                "map": looks + board,
                "prototypes": looks + board,
                "flags": board,
            }

    def topic(self, name: str, since: Mapping[tuple[str, str], int] | None = None) -> Topic:
        """The latest of one topic; `since` says how many points of each curve are known already."""
        match name:
            case "status":
                return self.status()
            case "curves":
                return self.curves(since or {})
            case "map":
                return self.latent_map()
            case "prototypes":
                return self.prototypes()
            case "flags":
                return self.board.flag_list()
        raise ValueError(f"there is no topic {name!r}.")

    def topics(self) -> list[Topic]:
        """All five, whole."""
        return [self.topic(name) for name in self.versions()]

    def status(self) -> Status:
        """Where the run stands."""
        status = self.run.status
        history = self.board.history
        state = status.state
        with self._lock:
            alarms = tuple(self._alarms.values())
            note = self._look.layout.note if self._look is not None else ""
        # First what is wrong with the model itself: whoever looks would otherwise wait for nothing.
        alarms = (*status.alarms, *alarms)
        if state == "failed":
            alarms = (f"Training failed: {status.message}", *alarms)
        is_warming = note and self._worker is not None and self._worker.is_alive and not self._worker.is_ready
        if note and not is_warming and "layout" not in self._alarms:
            alarms = (*alarms, note)
        return Status(
            state=state,
            message=status.message or "",
            store=self.atlas.path.name,
            query=None if self.query is None else self.query.path.name,
            stage=status.stage or "",
            epoch=status.epoch,
            epochs=status.epochs,
            step=status.step,
            cells_per_s=status.cells_per_s,
            wait_share=status.wait_share,
            n_cells=self.atlas.n_cells,
            n_genes=self.atlas.n_genes,
            can=Can(
                start=state in ("ready", "stopped"),
                pause=state == "training",
                resume=state == "paused",
                stop=state in ("training", "paused"),
            ),
            alarms=alarms,
            notes=self.run.notes if self._can_judge else (*self.run.notes, NO_LABELS),
            journal=self.board.journals,
            vocabulary=self.board.vocabulary,
            n_saved=history.n_saved,
            n_undo=len(history.undo),
            n_redo=len(history.redo),
        )

    def curves(self, since: Mapping[tuple[str, str], int] | None = None) -> Curves:
        """Loss curves from the points that are known already on."""
        series = []
        for name, split in self.run.history.names():
            start = (since or {}).get((name, split), 0)
            steps, values = self.run.history.series(name, split, start)
            series.append(Curve(name=name, split=split, start=start, steps=steps, values=values))
        with self._lock:
            drift = list(self._drift)
        if drift:
            start = min((since or {}).get((DRIFT, "train"), 0), len(drift))
            steps, values = (np.array([point[axis] for point in drift[start:]]) for axis in (0, 1))
            series.append(Curve(name=DRIFT, split="train", start=start, steps=steps.astype(np.int64), values=values))
        return Curves(
            series=tuple(series), marks=tuple(Mark(step=step, text=text) for step, text in self.run.history.marks)
        )

    def latent_map(self) -> LatentMap:
        """The map with labels, predictions, flags and p-values; empty before the first look."""
        with self._lock:
            look, annotated = self._look, self._annotated
        if look is None:
            return empty_map(self.atlas.n_cells + (0 if self.query is None else self.query.n_cells))
        shown = latent_map(look, self.atlas, self.query, self.board)
        if annotated is not None and annotated[0] == look.layout.number:
            return replace(shown, predicted=annotated[1].code, predicted_names=annotated[1].names)
        return shown

    def prototypes(self) -> PrototypeView:
        """Prototypes and flags, and how far they lie apart."""
        with self._lock:
            look, before, key = self._look, self._before, (self._looks, self.board.version)
            if look is None:
                return PrototypeView()
            if key != self._prototypes_key:
                self._prototypes = prototypes_of(look, self.atlas, self.query, self.board, before)
                self._prototypes_key = key
            return self._prototypes

    # What a person asks for

    def answer(self, rid: object, name: object, args: object) -> Answer:
        """Do a browser's command once, and say how it went."""
        return self.commands.answer(rid, name, args)

    def label(self, what: Any, name: str | None, *, query: bool = False) -> Saved:
        """Name a flag (its id, or one that `find_novel` gave) or rows of the atlas; saved when this returns.

        Parameters
        ----------
        query
            Whether the cells are the query's; a flag of `find_novel` knows by itself.
        """
        if isinstance(what, BoardFlag):
            return self.board.label_flag(what.id, name)
        if isinstance(what, int | np.integer) and not isinstance(what, bool):
            return self.board.label_flag(int(what), name)
        rows: list[Any] = [np.zeros(0, np.int64) for _ in self.board.places]
        if hasattr(what, "rows"):
            place = self._place_of(what)
            rows[place] = what.rows
            selector = {"kind": "flag", "p_value": float(what.p_value), "target_fpr": self.board.target_fpr}
        else:
            place = int(query)
            if place >= len(rows):
                raise LabelError("this view has no query, so there are no cells of it to name.")
            array = np.asarray(what)
            rows[place] = np.flatnonzero(array) if array.dtype == bool else array
            selector = {"kind": "rows"}
        return self.board.label_rows(rows, name, selector)

    def _place_of(self, flag: Any) -> int:
        """Which atlas a flag's cells come from."""
        shown = [self.atlas] if self.query is None else [self.atlas, self.query]
        for index, one in enumerate(shown):
            if flag.atlas is one or flag.atlas.uuid == one.uuid:
                return index
        names = " and ".join(one.path.name for one in shown)
        raise LabelError(f"this flag's cells come from {flag.atlas.path.name}, and this view shows {names}.")

    def drive(self, what: Drive) -> str:
        """Tell the run what to do; the state it is in then."""
        getattr(self.run, what)()
        self._wake.set()
        return self.run.status.state

    def layout_sha256(self, layout: int) -> str | None:
        """What a lasso on this layout was drawn on; None for one long gone."""
        return self._layout_sha256.get(layout)

    def nearest_cells(self, point: Float[ndarray, " latent"], n_cells: int) -> list[list[int]]:
        """The panel's cells nearest to a point of the latent space, as [is_query, row]; none before the first look."""
        look = self._look
        return [] if look is None else nearest_cells(look, point, n_cells)

    def find(self) -> None:
        """Look for flags with the model as it is now; at once without a watching thread, else soon."""
        if self._thread is None:
            self._attempt("flags", self._find_now)
            return
        self._wants_find = True
        self._wake.set()
