"""Fetches what the panel's cells are coloured by, and counts what a selection takes of whole atlases.

Both may read a store for seconds, so one background thread does them, the latest wish first; who asks gets an answer
at once and looks again later.
"""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int
from livelatent.atlas.atlas import Atlas
from livelatent.errors import ColumnError, LivelatentError
from livelatent.session.expression import gene_place, gene_values, unit_of
from livelatent.session.look import colours_of
from livelatent.session.panel import Panel
from livelatent.session.sight import Sight
from livelatent.session.state import CellValues

__all__ = ["Values"]

log = logging.getLogger(__name__)

MOST_NAMES = 1000
"""Of a column: beyond them no colour and no name on the map tells anything."""
SETS_KEPT = 8
COUNTS_KEPT = 8

Count = Callable[[Callable[[float], bool]], Any]
"""Counts, telling how far it is; stops early where that answers False."""


class Values:
    """The latest values of the panel's cells, and counts of whole atlases.

    Parameters
    ----------
    sight
        Whose panel it is, and whose latent prototypes are measured in.
    """

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        self.version = 0
        self._held = CellValues()
        self._sets: OrderedDict[int, CellValues] = OrderedDict()
        self._counts: OrderedDict[str, Any] = OrderedDict()
        self._wish: tuple[str, str] | None = None
        self._count_wish: tuple[str, Count] | None = None
        self._counting: str | None = None
        self._number = 0
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def wait(self, timeout_s: float = 60.0) -> None:
        """Until nothing is left to do."""
        self._idle.wait(timeout_s)

    # What is asked for

    def fetch(self, by: str, name: str) -> None:
        """Colour by this from now on; an empty `by` forgets what was asked for."""
        with self._lock:
            if not by:
                self._wish, self._held = None, CellValues()
                self.version += 1
                return
            self._wish = (by, name)
            self._held = CellValues(by=by, name=name, state="fetching")
            self.version += 1
        self._ask()

    def refresh(self) -> None:
        """Fetch again if the panel has changed since, or the latent that distances are taken in."""
        look = self.sight.look
        with self._lock:
            held = self._held
            if look is None or held.state != "ready" or self._wish is not None:
                return
            is_of_now = held.panel == look.panel.number and (
                held.by != "prototype" or held.layout == look.layout.number
            )
            if is_of_now:
                return
            self._wish = (held.by, held.name)
        self._ask()

    def count[R](self, selector: Any, work: Callable[[Callable[[float], bool]], R]) -> R | float:
        """What `work` made of a selector once it is done, or how far it is.

        Raises
        ------
        LivelatentError
            If they can't be counted.
        """
        key = json.dumps(selector, sort_keys=True)
        with self._lock:
            known = self._counts.get(key)
            is_under_way = key == self._counting or (self._count_wish is not None and self._count_wish[0] == key)
            if known is None or (isinstance(known, float) and not is_under_way):
                self._counts[key] = known = 0.0
                while len(self._counts) > COUNTS_KEPT:
                    self._counts.popitem(last=False)
                self._count_wish = (key, work)
                self._ask()
        if isinstance(known, str):
            with self._lock:
                self._counts.pop(key, None)
            raise LivelatentError(known)
        counted: R | float = known
        return counted

    # What there is

    @property
    def held(self) -> CellValues:
        """What a view shows."""
        return self._held

    def set(self, number: int) -> CellValues | None:
        """One of the last few sets of values."""
        with self._lock:
            return self._sets.get(number)

    # The thread

    def _ask(self) -> None:
        with self._lock:
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="livelatent-values", daemon=True)
                self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                wish, self._wish = self._wish, None
                count, self._count_wish = (None, self._count_wish) if wish else (self._count_wish, None)
                if wish is None and count is None:
                    self._idle.set()
            if wish is not None:
                self._fetch_now(*wish)
            elif count is not None:
                self._count_now(*count)
            else:
                self._wake.wait()
                self._wake.clear()
        self._idle.set()  # nobody shall wait for what will not come

    def _fetch_now(self, by: str, name: str) -> None:
        look = self.sight.look
        try:
            if look is None:
                raise LivelatentError("there are no cells on the map yet.")
            made = self._made(by, name, look.panel)
        except Exception as error:
            log.info("no values of %s %r", by, name, exc_info=True)
            made = CellValues(by=by, name=name, state="failed", message=str(error) or type(error).__name__)
        with self._lock:
            if self._wish is not None or (self._held.by, self._held.name) != (by, name):
                return  # another wish came meanwhile
            if made.state == "ready":
                self._number += 1
                made = replace(made, number=self._number)
                self._sets[self._number] = made
                while len(self._sets) > SETS_KEPT:
                    self._sets.popitem(last=False)
            self._held = made
            self.version += 1

    def _count_now(self, key: str, work: Count) -> None:
        def told(share: float) -> bool:
            with self._lock:
                self._counts[key] = share
                # A newer wish, or a colour, comes first; what was half counted is asked for again.
                return self._count_wish is None and self._wish is None and not self._closed.is_set()

        with self._lock:
            self._counting = key
        try:
            found = work(told)
        except Exception as error:
            log.info("a selection could not be counted", exc_info=True)
            found = str(error) or type(error).__name__
        with self._lock:
            self._counting = None
            if self._count_wish is None and self._wish is None:
                self._counts[key] = found
            else:
                self._counts.pop(key, None)

    def _made(self, by: str, name: str, panel: Panel) -> CellValues:
        places = [(self.sight.atlas, panel.rows)]
        if self.sight.query is not None and len(panel.query_rows):
            places.append((self.sight.query, panel.query_rows))
        ready = CellValues(by=by, name=name, state="ready", panel=panel.number)
        match by:
            case "gene":
                if all(gene_place(atlas, name) is None for atlas, _ in places):
                    raise LivelatentError(f"there is no gene {name[:80]!r}.")
                parts = [gene_values(atlas, name, rows, goes_on=self._goes_on) for atlas, rows in places]
                return replace(ready, values=np.concatenate(parts), unit=unit_of(places[0][0]))
            case "obs":
                made = replace(ready, **obs_values(name, places))
                return replace(made, colours=colours_of(places[0][0], name, made.names or ()))
            case "prototype":
                look = self.sight.look
                if look is None or look.panel is not panel or name not in look.prototypes.names:
                    raise LivelatentError(f"there is no prototype {name[:80]!r}.")
                radii = look.prototypes.in_radii(look.latent)[:, look.prototypes.names.index(name)]
                unit = "radii of the prototype"
                return replace(ready, values=radii.astype(np.float32), unit=unit, layout=look.layout.number)
        raise LivelatentError(f"cells are coloured by a gene, an obs column or a prototype; got {by[:80]!r}.")

    def _goes_on(self, _done: int) -> bool:
        return self._wish is None and not self._closed.is_set()


def obs_values(name: str, places: list[tuple[Atlas, ndarray]]) -> dict[str, Any]:
    """A column of obs in some cells of each place: codes and names, or numbers; none where an atlas lacks it."""
    columns: list[tuple[Any, tuple[str, ...] | None, int]] = []
    for atlas, rows in places:
        try:
            column = atlas.obs_column(name)
        except ColumnError:
            columns.append((None, None, len(rows)))
            continue
        columns.append((np.asarray(column.values)[rows], column.names, len(rows)))
    if all(values is None for values, _, _ in columns):
        raise ColumnError(f"there is no obs column {name[:80]!r}.")
    is_number = all(names is None and (values is None or values.dtype != bool) for values, names, _ in columns)
    if is_number:
        numbers: list[Float[ndarray, " cell"]] = [
            np.full(n, np.nan, np.float32) if values is None else values.astype(np.float32) for values, _, n in columns
        ]
        return {"values": np.concatenate(numbers), "unit": ""}
    texts: list[ndarray] = []
    for values, names, n in columns:
        if values is None:
            texts.append(np.full(n, None, object))
        elif names is None:
            texts.append(np.array([str(value) for value in values.tolist()], object))
        else:
            texts.append(np.array([*names, None], object)[values])
    text = np.concatenate(texts)
    known = tuple(sorted({str(value) for value in text if value is not None}))
    if len(known) > MOST_NAMES:
        raise LivelatentError(
            f"the column {name[:80]!r} has {len(known):,} different values among the cells shown; at most "
            f"{MOST_NAMES:,} can be told apart by name."
        )
    place = {value: code for code, value in enumerate(known)}
    codes: Int[ndarray, " cell"] = np.array([-1 if value is None else place[str(value)] for value in text], np.int64)
    return {"values": codes, "names": known}
