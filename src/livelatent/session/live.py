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
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.entries import Entry
from livelatent.errors import LabelError
from livelatent.session.acts import Drive, acts_of
from livelatent.session.board import Board, Place, Saved
from livelatent.session.board_flag import BoardFlag
from livelatent.session.commands import Answer, CommandError, Commands
from livelatent.session.evidence import Arrays, evidence_sha256
from livelatent.session.finder import Finder
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.latent_finder import LatentFinder
from livelatent.session.layout import LayoutWorker
from livelatent.session.look import Eye, labels_of
from livelatent.session.moments import Album, MomentError
from livelatent.session.pace import Pace
from livelatent.session.replay import replay
from livelatent.session.retrainer import Retrainer
from livelatent.session.selection import Chosen
from livelatent.session.sight import Sight
from livelatent.session.standing import curves_of, status_of
from livelatent.session.state import Curves, LatentMap, Moment, PrototypeView, Status, Topic
from livelatent.session.suggest import Catalogue
from livelatent.session.values import Values
from livelatent.session.watched import LASTING, HasEye, Sees
from livelatent.train.run import Run
from livelatent.train.settings import Settings

__all__ = ["LiveSession"]

log = logging.getLogger(__name__)

TICK_S = 0.2
RETRY_S = 10.0
"""After an error in the same look, unless the model has moved on and been paid for."""
FIND_WHILE_TRAINING_CELLS = 20_000
"""Above it, flags wait for the end of training: the reference reads every cell."""
LOOKS_BEFORE_FIND = 3
LAYOUT_EVERY_S = 30.0
LAYOUT_PART = 0.8
"""Of a look's cost; the rest is embedding."""
STEP_TIMEOUT_S = 1.0
NO_LABELS = (
    "No label among the training cells, or none among the calibration cells: there are no flags and no predicted "
    "types. Cells can be named here all the same."
)

QUERY_LABELS = (
    "Labels of cells in {query} are kept with it; retraining reads the cells of {atlas} only. To learn from them, "
    "append {query} to {atlas}, or ingest both together."
)


class LiveSession:
    """Watches a run and keeps what a view shows up to date.

    Parameters
    ----------
    run
        A `Run`, or anything else that is watched and shows its latent by itself (`HasEye`).
    query
        Another atlas, embedded and scored with the run's; its labels go to its own journal.
    panel_cells
        How many cells the map shows.
    cpu_share
        The largest share of one core that looking at the model, layouts included, may take while it trains.
    cell_cycle
        Genes of S and G2M, as `find_novel` takes them: flags then say how many of their cells divide.
    """

    def __init__(
        self,
        run: Run | HasEye,
        query: Atlas | None = None,
        *,
        panel_cells: int = 20_000,
        cpu_share: float = 0.15,
        target_fpr: float = 0.05,
        cell_cycle: Path | str | Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.run, self.query = run, query
        self.atlas: Atlas = run.atlas
        self.panel_cells, self._cell_cycle = panel_cells, cell_cycle
        atlases = [self.atlas] if query is None else [self.atlas, query]
        places = [Place(one.path.name, one.n_cells, one.labels) for one in atlases]
        self.board = Board(places, target_fpr=target_fpr)
        self.sight = Sight(self.atlas, query, self.board, panel_cells)
        self.values = Values(self.sight)
        self.retrainer = Retrainer(self)
        self.pace = Pace(cpu_share, lambda: self.run.status.state == "training", self._layout_took)
        self.sight.map.may_take_s = self._may_take_s
        self.album = Album()
        self.commands = Commands(acts_of(self))
        self._finder: Sees = Finder(run, cell_cycle) if isinstance(run, Run) else LatentFinder(run)
        self._lock = threading.RLock()
        self._work = threading.Lock()
        """Held by whoever looks: the background thread, or `settle`."""
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker: LayoutWorker | None = None
        self._looked_at: tuple[object, ...] | None = None
        self._found_at: tuple[object, ...] | None = None
        self._looks_at_find = 0
        self._wants_find = self._wants_place = False
        self.on_settled: Callable[[], None] | None = None
        """Called by the background thread whenever nothing moves any more and all is up to date."""
        self._settled_at: tuple[object, ...] | None = None
        self._alarms: dict[str, str] = {}
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
        self.retrainer.wait(30.0)
        self.values.close()
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
            elif self._is_judged_now() and self._found_at != key:
                self._attempt("flags", self._find_now)
            if self._looked_at != key or self._is_rough():
                self._attempt("map", self._look_now)
            self._annotate()

    @property
    def spent_s(self) -> float:
        """CPU time that looking has taken so far, layouts included."""
        return self.pace.spent_s

    def _may_take_s(self) -> float | None:
        """What a layout may take while it trains: so much that one comes every 30 s, embedding included."""
        is_training = self.run.status.state == "training"
        return LAYOUT_EVERY_S * LAYOUT_PART * self.pace.cpu_share if is_training else None

    def _layout_took(self) -> tuple[float, float]:
        worker = self._worker
        return (0.0, 0.0) if worker is None else (worker.cpu_s, worker.waited_s)

    def _open_worker(self) -> None:
        with self._lock:
            if self._worker is not None or "layout" in self._alarms:
                return
            try:
                self._worker = LayoutWorker(min(self.panel_cells, self.atlas.n_cells))
            except OSError as error:
                log.exception("the layout process could not be started")
                self._alarms["layout"] = f"The map is a PCA, not a UMAP: no layout process could be started ({error})."
            self.sight.map.worker = self._worker

    # Looking, in the background

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                with self._work:
                    self._work_once()
                self._tell_settled()
            except Exception as error:
                # Every part of a look reports its own error; this is the rest, and the thread must live on.
                log.exception("the view's background thread failed")
                self._alarms["session"] = f"The view's background work failed: {type(error).__name__}: {error}"
                self.pace.rest(RETRY_S)
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _work_once(self) -> None:
        """Do what is due, at most one thing."""
        if self.retrainer.doing:
            return  # the run that is looked at is about to be another
        key = self._key()
        is_busy = self.run.status.state in ("training", "stopping")
        asked = self._wants_find or self._wants_place
        if self.pace.is_resting and not (asked or (not is_busy and self._found_at != key)):
            return
        if self._wants_find or self._is_find_due(key):
            self._wants_find = False
            self.pace.timed(lambda: self._attempt("flags", self._find_now))
            self._found_at = key
        elif self._looked_at != key or (self._is_rough() and self._worker is not None and self._worker.is_ready):
            self.pace.timed(lambda: self._attempt("map", self._look_now))
            self._looked_at = key
        elif self._wants_place:
            self._wants_place = False
            self.pace.timed(lambda: self._attempt("placing of all cells", self._place_now))

    def _tell_settled(self) -> None:
        key = self._key()
        if self.run.status.state not in LASTING or self._looked_at != key or self._settled_at == key:
            return
        if self.on_settled is None or self._is_rough() or (self._is_judged_now() and self._found_at != key):
            return
        self._settled_at = key
        self.on_settled()

    def _place_now(self) -> None:
        """Place all cells on a layout of the very weights that embed them."""
        eye = self._finder.eye()
        if self.sight.look is None or self.sight.look.step != eye.step:
            self.sight.see(eye)
        self.sight.place_all(eye)

    def _is_find_due(self, key: tuple[object, ...]) -> bool:
        if self._found_at == key or not self._finder.can_judge:
            return False
        state = self.run.status.state
        if state in (*LASTING, "ready"):
            return self._finder.has_begun
        n_cells = self.atlas.n_cells + (0 if self.query is None else self.query.n_cells)
        return (
            state == "training"
            and self.run.status.epoch >= 1
            and n_cells <= FIND_WHILE_TRAINING_CELLS
            and self.sight.n_looks - self._looks_at_find >= LOOKS_BEFORE_FIND
        )

    def _is_judged_now(self) -> bool:
        """Whether nothing moves, and there is something to judge: a run that was killed and is open again as well."""
        is_still = self.run.status.state in (*LASTING, "ready")
        return is_still and self._finder.has_begun and self._finder.can_judge

    def _key(self) -> tuple[object, ...]:
        """Changes when the model has changed."""
        status = self.run.status
        return (status.step, status.state in LASTING)

    def _is_rough(self) -> bool:
        return bool(self.sight.note)

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

    def _look_now(self) -> None:
        self.sight.see(self._finder.eye(), self.run.status.epoch)
        self.values.refresh()
        if self.run.status.state in LASTING:
            self._looked_at = self._key()

    def _find_now(self) -> None:
        eye = self._finder.eye()
        self._looks_at_find = self.sight.n_looks
        with self.board.computing():
            self._take(self._finder.find(eye, self.sight.shown_query, self.board.target_fpr), eye)
        self._annotate()

    def _take(self, novelties: Sequence[JudgedNovelty | None], eye: Eye | None = None) -> None:
        """Show these scores; flagged cells outside the panel ask for another look."""
        padded = [*novelties, *[None] * (len(self.board.places) - len(novelties))]
        scored = [novelty for novelty in padded if novelty is not None]
        if scored:
            self.board.target_fpr = float(scored[0].target_fpr)
        self.board.show(padded, (self._finder.eye() if eye is None else eye).sha256())
        if self.sight.is_stale:
            self._looked_at = None

    def _annotate(self) -> None:
        """Replace the nearest prototype by the classifier's prediction once there is a classifier."""
        look = self.sight.look
        if look is not None and self._is_judged_now():
            self.sight.predict(self._finder.predict(self._finder.eye(), look, self.query), look)

    # What is shown

    def versions(self) -> dict[str, int]:
        """Per topic a number that grows with every change."""
        with self._lock:
            status, seen = self.status(), self._status_seen
            if status != seen[0]:
                self._status_seen = (status, seen[1] + 1)
            n_marks = len(self.run.history.marks)
            key = (status.step, status.epoch, status.state, status.stage, len(self.sight.drift), n_marks)
            if key != self._curves_seen[0]:
                self._curves_seen = (key, self._curves_seen[1] + 1)
            board, looks = self.board.version, self.sight.n_looks
            return {
                "status": self._status_seen[1],
                "curves": self._curves_seen[1],
                "map": looks + board,
                "prototypes": looks + board,
                "flags": self.board.flags_version,
                "moments": self.album.version,
                "values": self.values.version,
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
            case "moments":
                return self.album.moments()
            case "values":
                return self.values.held
        raise ValueError(f"there is no topic {name!r}.")

    def topics(self) -> list[Topic]:
        """All of them, whole."""
        return [self.topic(name) for name in self.versions()]

    def status(self) -> Status:
        """Where the run stands."""
        with self._lock:
            alarms = list(self._alarms.values())
        if self.sight.misfit is not None:
            alarms.append(self.sight.misfit)
        note, worker = self.sight.note, self._worker
        is_warming = note and worker is not None and worker.is_alive and not worker.is_ready
        if note and not is_warming and "layout" not in self._alarms:
            alarms.append(note)
        notes: tuple[str, ...] = () if self._finder.can_judge else (NO_LABELS,)
        if self.query is not None and self.query.labels.standing:
            notes = (*notes, QUERY_LABELS.format(query=self.query.path.name, atlas=self.atlas.path.name))
        status = status_of(self.run, self.query, self.board, self.pace, alarms=alarms, notes=notes)
        n_unlearned, doing = self.retrainer.n_unlearned, self.retrainer.doing
        can = replace(status.can, retrain=bool(n_unlearned) and not doing and status.state != "failed")
        if doing:
            # The next run begins from this one's weights: two that train at once would be one too many.
            can = replace(can, start=False, resume=False, step=False)
        # In hundredths: a frame for each piece of a large atlas would be news without end.
        placing = None if self.sight.placing is None else round(self.sight.placing, 2)
        return replace(status, can=can, n_unlearned=n_unlearned, retraining=doing, placing=placing)

    def curves(self, since: Mapping[tuple[str, str], int] | None = None) -> Curves:
        """Loss curves from the points that are known already on."""
        return curves_of(self.run, self.sight.drift, since or {})

    def latent_map(self) -> LatentMap:
        """The map with labels, predictions, flags and p-values; empty before the first look."""
        return self.sight.latent_map()

    def prototypes(self) -> PrototypeView:
        """Prototypes and flags, and how far they lie apart."""
        return self.sight.prototypes()

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
        selector: dict[str, Any]
        evidence: dict[str, Arrays] = {}
        if hasattr(what, "rows"):
            place = self._place_of(what)
            rows[place] = what.rows
            table = {
                f"row_{place}": np.asarray(what.rows, np.int64),
                f"flag_{place}": np.ones(len(what.rows), np.int64),
            }
            seen = evidence_sha256(table)
            selector = {
                "kind": "flag",
                "p_value": float(what.p_value),
                "target_fpr": self.board.target_fpr,
                "scope": "flag",
                "parts": [{"mode": "replace", "kind": "flag", "flag": 1, "seen": seen}],
            }
            evidence = {seen: table}
        else:
            place = int(query)
            if place >= len(rows):
                raise LabelError("this view has no query, so there are no cells of it to name.")
            array = np.asarray(what)
            rows[place] = np.flatnonzero(array) if array.dtype == bool else array
            selector = {"kind": "rows"}
        return self.board.label_rows(rows, name, selector, evidence)

    def retrain(self, epochs: int | None = None) -> None:
        """Train on with the labels given here, in a run of its own that this session then follows; returns at once.

        Raises
        ------
        LabelError
            If no label is new.
        """
        self.retrainer.start(epochs)

    def follow(self, run: Run) -> None:
        """Look at another run on the same store from now on: its labels, its curves, its model."""
        with self._work, self._lock:
            if self._closed.is_set():
                raise LabelError(f"the view was closed meanwhile. The run is kept: Run.resume({str(run.folder)!r}).")
            self.run, self.atlas = run, run.atlas
            self.sight.atlas = run.atlas
            self._finder = Finder(run, self._cell_cycle)
            self._looked_at = self._found_at = None
            self._looks_at_find = self.sight.n_looks
        self._wake.set()

    def alarm(self, what: str, message: str | None) -> None:
        """Show an alarm; None takes it back."""
        with self._lock:
            self._alarms.pop(what, None)
            if message is not None:
                self._alarms[what] = message

    def replay(self, entry: Entry) -> Chosen:
        """The cells of a label, found again from how it was chosen; see `replay`."""
        places = [self.atlas] if self.query is None else [self.atlas, self.query]
        folders = [one.labels.folder for one in places if entry in one.labels.entries]
        if not folders:
            raise LabelError(f"label {entry.seq} stands in no journal of this view.")
        return replay(entry, places, folders[0])

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """Every name there is to colour by."""
        places = [self.atlas] if self.query is None else [self.atlas, self.query]
        genes = [str(gene) for one in places for gene in one.genes]
        return Catalogue(genes, [str(name) for one in places for name in one.obs.columns])

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
        if what in ("start", "resume"):
            self._refuse_while_retraining()
        getattr(self.run, what)()
        self._wake.set()
        return self.run.status.state

    def _refuse_while_retraining(self) -> None:
        if self.retrainer.doing:
            raise CommandError("a retraining is being prepared from this run's weights. It starts by itself.")

    def step(self) -> str:
        """Train on one minibatch; the state the run is in then. A step that takes long is not waited for."""
        self._refuse_while_retraining()
        state = self._own_run("stepped").step(timeout=STEP_TIMEOUT_S).state
        self._wake.set()
        return state

    def set(
        self, *, learning_rate: float | int | None = None, weights: Mapping[str, float | int] | None = None
    ) -> Settings:
        """Set learning rate and weights of the stage that trains, from the next step on."""
        return self._own_run("set").set(learning_rate=learning_rate, weights=weights)

    def _own_run(self, what: str) -> Run:
        """The run, where training is ours."""
        if not isinstance(self.run, Run):
            raise CommandError(f"only a livelatent Run can be {what} from here; this view watches something else.")
        return self.run

    def keep(self) -> Moment:
        """Keep the map as it is shown, with the step that it is of, to be held against another later.

        Raises
        ------
        MomentError
            If there is no map yet, it is kept already, or no more can be.
        """
        look = self.sight.look
        if look is None:
            raise MomentError("there is no map yet that could be kept.")
        return self.album.keep(look, self.run.history, labels_of(look, self.atlas, self.query))

    def drop_moment(self, moment_id: int) -> None:
        """Forget a moment that was kept."""
        self.album.drop(moment_id)

    def layout_sha256(self, layout: int) -> str | None:
        """What a lasso on this layout was drawn on; None for one long gone."""
        return self.sight.layout_sha256(layout)

    def nearest_cells(self, point: Float[ndarray, " latent"], n_cells: int) -> list[list[int]]:
        """The panel's cells nearest to a point of the latent space, as [is_query, row]; none before the first look."""
        return self.sight.nearest_cells(point, n_cells)

    def drift_of(self, prototype: str) -> tuple[list[int], list[float]]:
        """Steps of the looks at a type, and how far it went up to each since the one before."""
        return self.sight.drift_of(prototype)

    def place_all(self, *, wait: bool = True) -> None:
        """Place every cell on the map by its nearest cells of the panel, until the next layout.

        Parameters
        ----------
        wait
            Whether to return only when they are placed; else soon, in the background.
        """
        if wait or self._thread is None:
            with self._work:
                self.pace.timed(lambda: self._attempt("placing of all cells", self._place_now))
            return
        self._wants_place = True
        self._wake.set()

    def find(self) -> None:
        """Look for flags with the model as it is now; at once without a watching thread, else soon."""
        if self._thread is None:
            self._attempt("flags", self._find_now)
            return
        self._wants_find = True
        self._wake.set()
