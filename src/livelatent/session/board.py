"""Flags, threshold, labels and undo: what a person does, as a state machine without Jupyter.

Labels live in the journals of the atlases that the cells come from, synced before this module says "saved".
What is shown of them (a flag's name, what can be undone) is read back from the journals, so that it is the
same after a restart. What is selected or dismissed is never in the history.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError
from livelatent.session.state import FlagList, FlagView

__all__ = ["Board", "BoardFlag", "Place", "Saved"]

SAME_OVERLAP = 0.5
"""Flags that share this much of the smaller one are the same flag, recomputed."""
LARGEST_ID = 65_534
"""Flag ids are sent as Uint16."""


@runtime_checkable
class JudgedNovelty(Protocol):
    """What this room needs of `judge`'s Novelty."""

    @property
    def rows(self) -> Any: ...
    @property
    def p_value(self) -> Any: ...
    @property
    def target_fpr(self) -> float: ...
    @property
    def n_flagged(self) -> int: ...
    @property
    def calibration(self) -> str: ...
    @property
    def curve(self) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...
    def at(self, target_fpr: float) -> Any: ...


@dataclass(frozen=True)
class Place:
    """An atlas that cells come from: its name and its journal."""

    name: str
    n_cells: int
    journal: LabelJournal


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardFlag:
    """A flag with an identity that outlives its recomputation."""

    id: int
    is_query: bool
    rows: Int[ndarray, " cell"]
    judged: Any

    def __repr__(self) -> str:
        return f"BoardFlag({self.id}: {len(self.rows):,} cells. {self.judged.reason})"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A label that is on disk."""

    label: str | None
    n_cells: int
    saved_at: str
    n_saved: int


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One thing that can be undone: a label that may have gone to two journals."""

    action: str
    time: str
    what: str
    places: frozenset[int]


class Board:
    """What is flagged, named, dismissed and undone.

    Parameters
    ----------
    places
        The run's atlas and, where there is one, the query.
    """

    def __init__(self, places: Sequence[Place], *, target_fpr: float = 0.05) -> None:
        self.places = tuple(places)
        self.target_fpr = target_fpr
        self.version = 0
        """Grows with every change that a view must show."""
        self._lock = threading.RLock()
        self._novelty: tuple[JudgedNovelty | None, ...] = (None,) * len(self.places)
        self._flags: tuple[BoardFlag, ...] = ()
        self._known: dict[int, BoardFlag] = {}
        self._dismissed: set[int] = set()
        self._model: str | None = None
        self._read: tuple[tuple[int, ...], History, tuple[str, ...]] | None = None
        self._read_journals()

    # What was found

    def show(self, novelties: Sequence[JudgedNovelty | None], model: str | None = None) -> None:
        """Take new scores; flags that largely overlap an earlier one keep its id, name and state."""
        with self._lock:
            self._novelty = tuple(novelties)
            self._model = model
            judged: list[tuple[bool, Any]] = []
            for is_query, novelty in enumerate(self._novelty):
                if novelty is not None:
                    judged += [(bool(is_query), novelty[index]) for index in range(len(novelty))]
            self._flags = self._identified(judged)
            self._known.update({flag.id: flag for flag in self._flags})
            self.version += 1

    def threshold(self, target_fpr: float) -> int:
        """Flag at another expected share of false alarms; the number of cells flagged."""
        with self._lock:
            try:
                at = [None if one is None else one.at(float(target_fpr)) for one in self._novelty]
            except ValueError as error:
                raise LabelError(str(error)) from error
            self.target_fpr = float(target_fpr)
            self.show(at, self._model)
            return self.n_flagged

    @property
    def n_flagged(self) -> int:
        """Cells above the threshold, in all places."""
        return sum(int(novelty.n_flagged) for novelty in self._novelty if novelty is not None)

    @property
    def novelties(self) -> tuple[JudgedNovelty | None, ...]:
        """The scores of each place, None where it has not been scored."""
        return self._novelty

    @property
    def flags(self) -> tuple[BoardFlag, ...]:
        """The current flags, the run's atlas first."""
        return self._flags

    def flag(self, flag_id: int) -> BoardFlag:
        """One flag by its id.

        Raises
        ------
        LabelError
            If there is none.
        """
        for flag in self._flags:
            if flag.id == flag_id:
                return flag
        raise LabelError(f"flag {flag_id} is gone: flags were computed again. Choose one of those shown now.")

    def _identified(self, judged: list[tuple[bool, Any]]) -> tuple[BoardFlag, ...]:
        """Give each new flag the id of the earlier one that it shares most cells with, each id once."""
        rows = [np.asarray(one.rows, np.int64) for _, one in judged]
        pairs = []
        for new, (is_query, _) in enumerate(judged):
            for old in self._known.values():
                if old.is_query != is_query:
                    continue
                shared = len(np.intersect1d(rows[new], old.rows, assume_unique=True))
                if shared and shared >= SAME_OVERLAP * min(len(rows[new]), len(old.rows)):
                    # A newer id wins a tie: it was seen last.
                    pairs.append((shared, old.id, new))
        ids: dict[int, int] = {}
        for _, old_id, new in sorted(pairs, reverse=True):
            if new not in ids and old_id not in ids.values():
                ids[new] = old_id
        free = max(self._known, default=0) + 1
        flags = []
        for new, (is_query, one) in enumerate(judged):
            if new not in ids:
                ids[new] = min(free, LARGEST_ID)
                free += 1
            flags.append(BoardFlag(id=ids[new], is_query=is_query, rows=rows[new], judged=one))
        return tuple(flags)

    # What a person does

    def label_flag(self, flag_id: int, name: str | None) -> Saved:
        """Name a flag's cells; returns once the name is on disk."""
        with self._lock:
            flag = self.flag(flag_id)
            selector = {
                "kind": "flag",
                "flag": flag.id,
                "target_fpr": self.target_fpr,
                "p_value": _number(flag.judged.p_value),
            }
            self._dismissed.discard(flag_id)
            rows: list[ndarray] = [np.zeros(0, np.int64) for _ in self.places]
            rows[int(flag.is_query)] = flag.rows
            return self.label_rows(rows, name, selector)

    def label_rows(self, rows: Sequence[Any], name: str | None, selector: dict[str, Any]) -> Saved:
        """Name cells of each place; returns once the name is on disk.

        Parameters
        ----------
        rows
            Store rows, one array per place; empty where none is meant.
        name
            None takes a name away.
        selector
            How the cells were chosen.
        """
        with self._lock:
            chosen = [np.unique(np.asarray(some, np.int64)) for some in rows]
            for place, some in zip(self.places, chosen, strict=True):
                if len(some) and not (0 <= some[0] and some[-1] < place.n_cells):
                    raise LabelError(f"{place.name} has cells 0..{place.n_cells - 1}; got {some[0]}..{some[-1]}.")
            n_cells = sum(map(len, chosen))
            if not n_cells:
                raise LabelError("no cells were chosen, so there is nothing to name.")
            how = {**selector, "action": uuid.uuid4().hex}
            entries = [
                place.journal.label(some, name, how=how, model=self._model)
                for place, some in zip(self.places, chosen, strict=True)
                if len(some)
            ]
            self.version += 1
            return Saved(
                label=entries[-1].new, n_cells=n_cells, saved_at=entries[-1].time, n_saved=self.history.n_saved
            )

    def dismiss(self, flag_id: int) -> str:
        """Put a flag aside; its state."""
        with self._lock:
            self.flag(flag_id)
            self._dismissed.add(flag_id)
            self.version += 1
            return self.state_of(flag_id)

    def reopen(self, flag_id: int) -> str:
        """Take a dismissed flag up again; its state."""
        with self._lock:
            self.flag(flag_id)
            self._dismissed.discard(flag_id)
            self.version += 1
            return self.state_of(flag_id)

    def undo(self) -> str | None:
        """Take the last label back, in every journal that it went to; what it was."""
        return self._back(redo=False)

    def redo(self) -> str | None:
        """Give the last label taken back again; what it was."""
        return self._back(redo=True)

    def _back(self, *, redo: bool) -> str | None:
        with self._lock:
            history = self.history
            steps = history.redo if redo else history.undo
            if not steps:
                return None
            for index in sorted(steps[-1].places):
                journal = self.places[index].journal
                if redo:
                    journal.redo()
                else:
                    journal.undo()
            self.version += 1
            return steps[-1].what

    # What is shown

    @property
    def history(self) -> "History":
        """What can be undone and redone, read from the journals."""
        return self._read_journals()[0]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every name that any place's journal knows."""
        return self._read_journals()[1]

    def _read_journals(self) -> tuple["History", tuple[str, ...]]:
        """History and vocabulary, read again when a journal has grown, here or by `atlas.labels`."""
        with self._lock:
            lengths = tuple(len(place.journal.entries) for place in self.places)
            if self._read is None or self._read[0] != lengths:
                names = dict.fromkeys(name for place in self.places for name in place.journal.vocabulary)
                if self._read is not None:
                    self.version += 1
                self._read = (lengths, History.read(self.places), tuple(names))
            return self._read[1:]

    def given(self) -> tuple[ndarray, ...]:
        """The label given by hand to each cell of each place; None where none."""
        return tuple(place.journal.current() for place in self.places)

    def state_of(self, flag_id: int) -> str:
        """Whether a flag is open, named or dismissed."""
        return next(view.state for view in self.flag_list().flags if view.id == flag_id)

    def flag_list(self) -> FlagList:
        """Everything about flags that a view shows."""
        with self._lock:
            given = self.given() if self._flags else ()
            scored = [novelty for novelty in self._novelty if novelty is not None]
            curve = _curve(scored)
            return FlagList(
                target_fpr=self.target_fpr,
                n_scored=sum(len(novelty.rows) for novelty in scored),
                n_flagged=self.n_flagged,
                calibration="; ".join(dict.fromkeys(novelty.calibration for novelty in scored)),
                curve_target_fpr=curve[0],
                curve_n_flagged=curve[1],
                flags=tuple(self._view(flag, given[int(flag.is_query)]) for flag in self._flags),
            )

    def _view(self, flag: BoardFlag, given: ndarray) -> FlagView:
        place = self.places[int(flag.is_query)]
        judged = flag.judged
        view = FlagView(
            id=flag.id,
            atlas=place.name,
            n_cells=len(flag.rows),
            p_value=_number(judged.p_value),
            batches=tuple((str(name), int(n)) for name, n in dict(judged.batches).items()),
            nearest=tuple((str(name), _number(radii)) for name, radii in judged.nearest),
            higher=tuple(map(str, judged.higher)),
            lower=tuple(map(str, judged.lower)),
            reason=str(judged.reason),
        )
        # A name counts once most of the flag's cells carry it; so undo, or a lasso over it, shows here too.
        names = Counter(name for name in given[flag.rows] if name is not None)
        if names:
            label, n_cells = names.most_common(1)[0]
            if n_cells * 2 >= len(flag.rows):
                saved = [e.time for e in place.journal.entries if e.event == "label" and e.new == label]
                return replace(view, state="named", label=str(label), saved_at=saved[-1] if saved else None)
        return replace(view, state="dismissed") if flag.id in self._dismissed else view


@dataclass(frozen=True)
class History:
    """What can be undone (last one last) and redone (next one last)."""

    undo: tuple[_Step, ...]
    redo: tuple[_Step, ...]

    @property
    def n_saved(self) -> int:
        """Labels on disk that have not been undone."""
        return len(self.undo)

    @classmethod
    def read(cls, places: Sequence[Place]) -> "History":
        """Replay the journals; a label that went to two of them is one step."""
        undo: list[tuple[str, int, Any]] = []
        redo: list[tuple[str, int, Any]] = []
        for index, place in enumerate(places):
            done: list[Any] = []
            undone: list[tuple[str, Any]] = []
            for entry in place.journal.entries:
                if entry.event == "label":
                    done.append(entry)
                    undone.clear()
                elif entry.event == "undo" and done:
                    undone.append((entry.time, done.pop()))
                elif entry.event == "redo" and undone:
                    done.append(undone.pop()[1])
            undo += [(entry.time, index, entry) for entry in done]
            redo += [(time, index, entry) for time, entry in undone]
        # Sorting is stable and a journal's own entries are in order of time. Redo runs backwards: what was
        # undone last comes back first.
        undo.sort(key=lambda item: item[0])
        redo.sort(key=lambda item: item[0])
        last_label = max((time for time, _, _ in undo), default="")
        fresh = [item for item in redo if item[0] >= last_label]
        return cls(_steps(undo), _steps(fresh))


def _steps(items: list[tuple[str, int, Any]]) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for time, index, entry in items:
        action = str(entry.how.get("action", f"{index}:{entry.seq}"))
        if steps and steps[-1].action == action:
            steps[-1] = replace(steps[-1], places=steps[-1].places | {index})
            continue
        what = f"{entry.n_cells} cells: {'no label' if entry.new is None else entry.new}"
        steps.append(_Step(action=action, time=time, what=what, places=frozenset({index})))
    return tuple(steps)


def _number(value: Any) -> float:
    return float(value)


def _curve(novelties: Sequence[JudgedNovelty]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Cells flagged at each threshold, summed over places (their grids are the same)."""
    total: dict[float, int] = {}
    for novelty in novelties:
        for target_fpr, n_flagged in zip(novelty.curve["target_fpr"], novelty.curve["n_flagged"], strict=True):
            total[float(target_fpr)] = total.get(float(target_fpr), 0) + int(n_flagged)
    return tuple(sorted(total)), tuple(total[key] for key in sorted(total))
