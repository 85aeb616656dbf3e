"""A run as a person sees it: always the latest map, prototypes and flags, within a budget of time.

One background thread, `Lookout`, looks at the model now and then; `topic()` gives what it saw, at any moment and
from any thread. No Jupyter here: the widget, the offline page and the tests are thin views of this.
"""

import atexit
import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.entries import Entry
from livelatent.errors import LabelError
from livelatent.judge.cycle_lists import CycleSource
from livelatent.session.acts import Drive, acts_of
from livelatent.session.acts_flags import flag_acts
from livelatent.session.alarms import Alarms
from livelatent.session.board import Board
from livelatent.session.board_flag import BoardFlag
from livelatent.session.commands import Answer, CommandError, Commands
from livelatent.session.finder import Finder
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.latent_finder import LatentFinder
from livelatent.session.ledger import Place, Saved
from livelatent.session.look import labels_of
from livelatent.session.lookout import LAYOUT, Lookout
from livelatent.session.looks import Looks, Scene
from livelatent.session.meant import meant_by
from livelatent.session.moments import Album, MomentError
from livelatent.session.near import Near
from livelatent.session.pace import Pace
from livelatent.session.replay import replay
from livelatent.session.retrainer import Retrainer
from livelatent.session.selection import Chosen
from livelatent.session.sight import Sight
from livelatent.session.standing import curves_of, status_of
from livelatent.session.state import Curves, LatentMap, Moment, PrototypeView, Status, Topic
from livelatent.session.suggest import Catalogue
from livelatent.session.values import Values
from livelatent.session.watched import HasEye, Sees
from livelatent.train.run import Run
from livelatent.train.settings import Settings

__all__ = ["LiveSession"]

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
        cell_cycle: CycleSource | None = None,
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
        self.album = Album()
        self.commands = Commands(acts_of(self), slow=flag_acts(self.board))
        self._alarms = Alarms()
        self._finder: Sees = Finder(run, cell_cycle) if isinstance(run, Run) else LatentFinder(run, cell_cycle)
        self.lookout = Lookout(
            Looks(Scene(run, self._finder), self.sight, self.values, self.board, self._alarms),
            self._alarms,
            is_parted=lambda: bool(self.retrainer.doing),
            cpu_share=cpu_share,
        )
        self._lock = threading.RLock()
        self._status_seen: tuple[Status, int] = (Status(), 0)
        self._curves_seen: tuple[tuple[object, ...], int] = ((), 0)

    # Life

    def start(self) -> None:
        """Begin to look, in the background."""
        # A daemon thread inside torch may crash an interpreter that is going away, so it is ended first.
        atexit.register(self.close)
        self.lookout.start()

    def close(self) -> None:
        """Stop looking and end the layout process; labels are on disk already."""
        atexit.unregister(self.close)
        self.lookout.leave()
        self.retrainer.wait(30.0)
        self.values.close()
        self.lookout.close()

    def settle(self, novelties: Sequence[JudgedNovelty | None] | None = None, *, timeout_s: float = 120.0) -> None:
        """Bring everything up to date with the model as it stands, and wait for it; see `Lookout.settle`."""
        self.lookout.settle(novelties, timeout_s=timeout_s)

    @property
    def pace(self) -> Pace:
        """How often it looks."""
        return self.lookout.pace

    @property
    def spent_s(self) -> float:
        """CPU time that looking has taken so far, layouts included."""
        return self.pace.spent_s

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
            board, looks = self.board.version, self.sight.version
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
        alarms = list(self._alarms.messages)
        if self.sight.misfit is not None:
            alarms.append(self.sight.misfit)
        note, worker = self.sight.note, self.lookout.worker
        is_warming = note and worker is not None and worker.is_alive and not worker.is_ready
        if note and not is_warming and LAYOUT not in self._alarms:
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

    def lane(self, name: object) -> str:
        """Commands of one lane are to be done one after the other."""
        return self.commands.lane(name)

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
        rows, selector, evidence = meant_by(what, self._atlases, is_query=query, target_fpr=self.board.target_fpr)
        return self.board.ledger.label_rows(rows, name, selector, evidence)

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
        scene = Scene(run, Finder(run, self._cell_cycle))

        def change() -> Scene:
            if self.lookout.is_closed:
                raise LabelError(f"the view was closed meanwhile. The run is kept: Run.resume({str(run.folder)!r}).")
            with self._lock:
                self.run, self.atlas, self._finder = run, run.atlas, scene.finder
                self.sight.atlas = run.atlas
            return scene

        self.lookout.follow(change)

    def alarm(self, what: str, message: str | None) -> None:
        """Show an alarm; None takes it back."""
        self._alarms.set(what, message)

    def replay(self, entry: Entry) -> Chosen:
        """The cells of a label, found again from how it was chosen; see `replay`."""
        places = self._atlases
        folders = [one.labels.folder for one in places if entry in one.labels.entries]
        if not folders:
            raise LabelError(f"label {entry.seq} stands in no journal of this view.")
        return replay(entry, places, folders[0])

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """Every name there is to colour by."""
        genes = [str(gene) for one in self._atlases for gene in one.genes]
        return Catalogue(genes, [str(name) for one in self._atlases for name in one.obs.columns])

    @property
    def _atlases(self) -> list[Atlas]:
        return [self.atlas] if self.query is None else [self.atlas, self.query]

    def drive(self, what: Drive) -> str:
        """Tell the run what to do; the state it is in then."""
        if what in ("start", "resume"):
            self._refuse_while_retraining()
        getattr(self.run, what)()
        self.lookout.wake()
        return self.run.status.state

    def _refuse_while_retraining(self) -> None:
        if self.retrainer.doing:
            raise CommandError("a retraining is being prepared from this run's weights. It starts by itself.")

    def step(self) -> str:
        """Train on one minibatch; the state the run is in then. A step that takes long is not waited for."""
        self._refuse_while_retraining()
        state = self._own_run("stepped").step(timeout=STEP_TIMEOUT_S).state
        self.lookout.wake()
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

    def nearest_cells(self, prototype: str, point: Float[ndarray, " latent"], n_cells: int) -> Near:
        """The panel's cells nearest to a prototype's point of the latent space; none before the first look."""
        return self.sight.nearest_cells(prototype, point, n_cells)

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
        self.lookout.place_all(wait=wait)

    def find(self) -> None:
        """Look for flags with the model as it is now; at once without a watching thread, else soon."""
        self.lookout.find()
