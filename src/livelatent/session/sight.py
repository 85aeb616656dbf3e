"""What was last seen of a model: map, prototypes, predictions and drift, for any thread to read."""

import logging
import threading
from collections import deque
from dataclasses import replace

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.atlas.atlas import Atlas
from livelatent.errors import GeneMismatchError
from livelatent.session.board import Board
from livelatent.session.look import (
    Eye,
    Look,
    Naming,
    Predicted,
    centroids_of,
    empty_map,
    latent_map,
    look_at,
    nearest_prototype,
    prototypes_of,
)
from livelatent.session.moving_map import Layout, MovingMap
from livelatent.session.near import Near, NearBook
from livelatent.session.panel import Panel, choose_panel
from livelatent.session.placed import MOST_PLACED, Placed, place, position_of
from livelatent.session.prototype_table import drift_between, drifts_between
from livelatent.session.state import LatentMap, PrototypeView

__all__ = ["Sight"]

log = logging.getLogger(__name__)

LAYOUTS_KEPT = 64
LAYOUT_BYTES = 64 << 20
"""What they may take together: a lasso refers to one of the last few."""
PLACED_NUMBERS = 1_000_000
"""Added to a panel's number where all cells are placed: to a page these are other cells than the panel's."""
LOOKS_KEPT = 500
"""Of each type's own drift: with a thousand types some megabytes."""


class Sight:
    """Looks when told to, and keeps what it saw until the next look.

    One thread may call `see` and `predict`; everything else is read from any.

    Parameters
    ----------
    query
        Another atlas, seen beside the run's own as long as its genes fit.
    panel_cells
        How many cells the map shows.
    """

    def __init__(self, atlas: Atlas, query: Atlas | None, board: Board, panel_cells: int) -> None:
        self.atlas, self.query, self.board, self.panel_cells = atlas, query, board, panel_cells
        self.map = MovingMap()
        self.near = NearBook()
        self.misfit: str | None = None
        """Why the query is not shown, if it is not."""
        self.n_looks = 0
        self.version = 0
        """Grows with everything new there is to see."""
        self._lock = threading.RLock()
        self._look: Look | None = None
        self._before: dict[str, ndarray] | None = None
        self._epoch = 0
        self._before_epoch: tuple[str, dict[str, ndarray]] | None = None
        """When, in words, and the centroids of the last look in an earlier epoch."""
        self._drift: list[tuple[int, float]] = []
        self._drifts: deque[tuple[int, dict[str, float]]] = deque(maxlen=LOOKS_KEPT)
        self._annotated: tuple[int, Predicted] | None = None
        self._layouts: dict[int, Layout] = {}
        self._placed: Placed | None = None
        self.placing: float | None = None
        """Share of all cells that have been placed, while they are."""
        self._prototypes = PrototypeView()
        self._prototypes_key = (-1, -1)

    # Looking

    def see(self, eye: Eye, epoch: int = 0) -> None:
        """Embed the panel, lay it out, and keep what comes out."""
        try:
            look = look_at(eye, self.atlas, self.query, self.panel(), self.map)
        except GeneMismatchError as error:
            if self.query is None or self.misfit is not None:
                raise
            # The run's own atlas is worth seeing without it.
            log.warning("the query is not shown: %s", error)
            self.misfit = f"The query is not shown: {error}"
            look = look_at(eye, self.atlas, self.query, self.panel(), self.map)
        with self._lock:
            if self._look is not None and self._look.step != look.step:
                self._before = centroids_of(self._look)
                if epoch != self._epoch:
                    self._before_epoch = (f"epoch {self._epoch}, step {self._look.step:,}", self._before)
                drift = drift_between(self._before, centroids_of(look))
                if drift is not None and look.step > self._look.step:
                    self._drift.append((look.step, drift))
                    self._drifts.append((look.step, drifts_between(self._before, centroids_of(look))))
            self._epoch = epoch
            self._look = look
            self.n_looks += 1
            self.version += 1
            self._layouts[look.layout.number] = look.layout
            n_kept = max(2, min(LAYOUTS_KEPT, LAYOUT_BYTES // max(1, look.layout.xy.nbytes)))
            for old in sorted(self._layouts)[:-n_kept]:
                del self._layouts[old]

    def panel(self) -> Panel:
        """The panel, chosen again only when a flag has cells that it lacks."""
        keep, keep_query = self._flagged()
        last = None if self._look is None else self._look.panel
        query = self.shown_query
        n_query = 0 if query is None else query.n_cells
        is_complete = last is not None and np.isin(keep, last.rows).all() and np.isin(keep_query, last.query_rows).all()
        if last is not None and is_complete and bool(len(last.query_rows)) == bool(n_query):
            return last
        return self._chosen(self.panel_cells, 1 if last is None else last.number + 1)

    def _flagged(self) -> list[ndarray]:
        """Flagged rows of the atlas, and of the query."""
        kept: list[list[ndarray]] = [[], []]
        for flag in self.board.flags:
            kept[int(flag.is_query)].append(flag.rows)
        return [np.concatenate([np.zeros(0, np.int64), *some]) for some in kept]

    def _chosen(self, n_cells: int, number: int) -> Panel:
        keep, keep_query = self._flagged()
        query = self.shown_query
        return choose_panel(
            self.atlas.label,
            0 if query is None else query.n_cells,
            n_cells=n_cells,
            shown=self.atlas.kept,
            shown_query=None if query is None else query.kept,
            keep=keep,
            keep_query=keep_query,
            number=number,
        )

    def place_all(self, eye: Eye, naming: Naming | None = None) -> None:
        """Place every cell that QC keeps by its nearest cells of the panel; shown until the next layout.

        Above `MOST_PLACED` cells they are thinned, and none that is flagged is lost.

        Parameters
        ----------
        naming
            The classifier, where there is one; None names cells by their nearest prototype.
        """
        look, query = self._look, self.shown_query
        if look is None or eye.step != look.step:
            raise LookupError("there is no layout of this moment yet, so no cell can be placed beside others.")
        panel = self._chosen(MOST_PLACED, look.panel.number + PLACED_NUMBERS)
        xy, parts = np.empty((len(panel), 2), np.float32), []

        def atlas_of(is_query: bool) -> Atlas:
            return query if is_query and query is not None else self.atlas

        try:
            for start, is_query, rows, latent in place(
                panel, lambda is_query, rows: eye.embed(atlas_of(is_query), rows)
            ):
                xy[start : start + len(rows)] = position_of(latent, look.latent, look.layout.xy)
                one = nearest_prototype(look.prototypes, latent) if naming is None else naming(atlas_of(is_query), rows)
                parts.append(one)
                self.placing = (start + len(rows)) / len(panel)
            # Names in the panel's order: a type keeps its colour.
            predicted = Predicted.joined(parts, self.predicted(look).names)
            with self._lock:
                self._placed = Placed(layout=look.layout.number, panel=panel, xy=xy, predicted=predicted)
                self.version += 1
        finally:
            self.placing = None

    def predict(self, naming: Naming, look: Look) -> None:
        """Show a classifier's prediction instead of the nearest prototype, on that look's map."""
        parts = [naming(self.atlas, look.panel.rows)]
        if self.query is not None and len(look.panel.query_rows):
            parts.append(naming(self.query, look.panel.query_rows))
        names = tuple(sorted({name for part in parts for name in part.names}))
        predicted = Predicted.joined(parts, names)
        with self._lock:
            self._annotated = (look.layout.number, predicted)
            self.version += 1

    # What was seen

    @property
    def look(self) -> Look | None:
        """The last look; None before the first."""
        return self._look

    @property
    def shown(self) -> Look | None:
        """The look whose cells are on the map: the last one, or that one with all cells placed.

        Its `latent` stays that of the panel.
        """
        with self._lock:
            look, placed = self._look, self._placed
        if look is None or placed is None or placed.layout != look.layout.number:
            return look
        layout = Layout(number=look.layout.number, panel=placed.panel, xy=placed.xy, moved=None, note=look.layout.note)
        return replace(look, layout=layout, predicted=placed.predicted)

    @property
    def note(self) -> str:
        """Why the map is no UMAP, if it is not."""
        look = self._look
        return "" if look is None else look.layout.note

    @property
    def shown_query(self) -> Atlas | None:
        """The query, if its genes fit."""
        return None if self.misfit is not None else self.query

    @property
    def is_stale(self) -> bool:
        """Whether a flag has cells that the map lacks."""
        return self._look is not None and self.panel() is not self._look.panel

    @property
    def drift(self) -> list[tuple[int, float]]:
        """Step and drift of the prototypes, look by look."""
        with self._lock:
            return list(self._drift)

    def drift_of(self, prototype: str) -> tuple[list[int], list[float]]:
        """Steps of the looks at a type, and how far it went up to each since the one before."""
        with self._lock:
            points = [(step, drifts[prototype]) for step, drifts in self._drifts if prototype in drifts]
        return [step for step, _ in points], [drift for _, drift in points]

    def latent_map(self) -> LatentMap:
        """The map with labels, predictions, flags and p-values; empty before the first look."""
        with self._lock:
            annotated, own, look = self._annotated, self._look, self.shown
        if look is None:
            return empty_map(self.atlas.n_cells + (0 if self.query is None else self.query.n_cells))
        shown = latent_map(look, self.atlas, self.query, self.board)
        if look is own and annotated is not None and annotated[0] == look.layout.number:
            return replace(shown, predicted=annotated[1].code, predicted_names=annotated[1].names)
        return shown

    @property
    def is_classified(self) -> bool:
        """Whether the panel's cells are named by a classifier on the map that is shown."""
        with self._lock:
            return (
                self._look is not None
                and self._annotated is not None
                and self._annotated[0] == self._look.layout.number
            )

    def layouts(self) -> tuple[Layout, ...]:
        """The last layouts, the newest first."""
        with self._lock:
            return tuple(self._layouts[number] for number in sorted(self._layouts, reverse=True))

    def predicted(self, look: Look) -> Predicted:
        """The classifier's prediction on that look's map, or the nearest prototype."""
        with self._lock:
            annotated = self._annotated
        return annotated[1] if annotated is not None and annotated[0] == look.layout.number else look.predicted

    def prototypes(self) -> PrototypeView:
        """Prototypes and flags, and how far they lie apart."""
        with self._lock:
            look, before, key = self._look, self._before, (self.version, self.board.version)
            since = self._before_epoch
            if look is None:
                return PrototypeView()
            if key != self._prototypes_key:
                self._prototypes = prototypes_of(look, self.atlas, self.query, self.board, before, since)
                self._prototypes_key = key
            return self._prototypes

    def layout_sha256(self, layout: int) -> str | None:
        """What a lasso on this layout was drawn on; None for one long gone."""
        held = self.layout(layout)
        return None if held is None else held.sha256

    def layout(self, number: int) -> Layout | None:
        """One of the last layouts; None for one long gone."""
        with self._lock:
            return self._layouts.get(number)

    def nearest_cells(self, prototype: str, point: Float[ndarray, " latent"], n_cells: int) -> Near:
        """The panel's cells nearest to a prototype's point of the latent space; none before the first look."""
        return self.near.ask(self._look, prototype, point, n_cells)
