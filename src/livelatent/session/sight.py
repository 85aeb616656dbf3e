"""What was last seen of a model: map, prototypes, predictions and drift, for any thread to read."""

import logging
import threading
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.atlas.atlas import Atlas
from livelatent.errors import GeneMismatchError
from livelatent.session.board import Board
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
from livelatent.session.moving_map import Layout, MovingMap
from livelatent.session.panel import Panel, choose_panel
from livelatent.session.prototype_table import drift_between
from livelatent.session.state import LatentMap, PrototypeView

__all__ = ["Sight"]

log = logging.getLogger(__name__)

LAYOUTS_KEPT = 64
LAYOUT_BYTES = 64 << 20
"""What they may take together: a lasso refers to one of the last few."""


class Sight:
    """Looks at a model when told to, and keeps what it saw until the next look.

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
        self.misfit: str | None = None
        """Why the query is not shown, if it is not."""
        self.n_looks = 0
        """Grows with everything new there is to see."""
        self._lock = threading.RLock()
        self._look: Look | None = None
        self._before: dict[str, ndarray] | None = None
        self._drift: list[tuple[int, float]] = []
        self._annotated: tuple[int, Predicted] | None = None
        self._layouts: dict[int, Layout] = {}
        self._prototypes = PrototypeView()
        self._prototypes_key = (-1, -1)

    # Looking

    def see(self, model: Any, step: int) -> None:
        """Embed the panel, lay it out, and keep what comes out."""
        try:
            look = look_at(model, step, self.atlas, self.query, self.panel(), self.map)
        except GeneMismatchError as error:
            if self.query is None or self.misfit is not None:
                raise
            # The run's own atlas is worth seeing without it.
            log.warning("the query is not shown: %s", error)
            self.misfit = f"The query is not shown: {error}"
            look = look_at(model, step, self.atlas, self.query, self.panel(), self.map)
        with self._lock:
            if self._look is not None and self._look.step != look.step:
                self._before = centroids_of(self._look)
                drift = drift_between(self._before, centroids_of(look))
                if drift is not None and look.step > self._look.step:
                    self._drift.append((look.step, drift))
            self._look = look
            self.n_looks += 1
            self._layouts[look.layout.number] = look.layout
            n_kept = max(2, min(LAYOUTS_KEPT, LAYOUT_BYTES // max(1, look.layout.xy.nbytes)))
            for old in sorted(self._layouts)[:-n_kept]:
                del self._layouts[old]

    def panel(self) -> Panel:
        """The panel, chosen again only when a flag has cells that it lacks."""
        kept: list[list[ndarray]] = [[], []]
        for flag in self.board.flags:
            kept[int(flag.is_query)].append(flag.rows)
        keep, keep_query = (np.concatenate([np.zeros(0, np.int64), *some]) for some in kept)
        last = None if self._look is None else self._look.panel
        query = self.shown_query
        n_query = 0 if query is None else query.n_cells
        is_complete = last is not None and np.isin(keep, last.rows).all() and np.isin(keep_query, last.query_rows).all()
        if last is not None and is_complete and bool(len(last.query_rows)) == bool(n_query):
            return last
        return choose_panel(
            self.atlas.label,
            n_query,
            n_cells=self.panel_cells,
            shown=self.atlas.kept,
            shown_query=query.kept if query is not None and n_query else None,
            keep=keep,
            keep_query=keep_query,
            number=1 if last is None else last.number + 1,
        )

    def predict(self, predicted: Predicted, look: Look) -> None:
        """Show a classifier's prediction instead of the nearest prototype, on that look's map."""
        with self._lock:
            self._annotated = (look.layout.number, predicted)
            self.n_looks += 1

    # What was seen

    @property
    def look(self) -> Look | None:
        """The last look; None before the first."""
        return self._look

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
            look, before, key = self._look, self._before, (self.n_looks, self.board.version)
            if look is None:
                return PrototypeView()
            if key != self._prototypes_key:
                self._prototypes = prototypes_of(look, self.atlas, self.query, self.board, before)
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

    def nearest_cells(self, point: Float[ndarray, " latent"], n_cells: int) -> list[list[int]]:
        """The panel's cells nearest to a point of the latent space, as [is_query, row]; none before the first look."""
        look = self._look
        return [] if look is None else nearest_cells(look, point, n_cells)
