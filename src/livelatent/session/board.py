"""Flags, threshold, labels and undo: what a person does, as a state machine without Jupyter.

Labels live in the journals of the atlases that the cells come from, synced before this module says "saved".
What is shown of them (a flag's name, what can be undone) is read back from the journals, so that it is the
same after a restart. What is selected or dismissed is never in the history.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError
from livelatent.session.board_flag import BoardFlag, identified
from livelatent.session.evidence import Arrays, evidence_sha256, save_evidence
from livelatent.session.state import FlagList, FlagState, FlagView
from livelatent.session.undo import History

__all__ = ["Board", "Place", "Saved"]


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


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A label that is on disk."""

    label: str | None
    n_cells: int
    saved_at: str
    n_saved: int


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
        self.judged = 0
        """Grows with every new set of scores or flags."""
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
            self.judged += 1
            judged: list[tuple[bool, Any]] = []
            for is_query, novelty in enumerate(self._novelty):
                if novelty is not None:
                    judged += [(bool(is_query), novelty[index]) for index in range(len(novelty))]
            self._flags = identified(judged, self._known)
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

    # What a person does

    def label_flag(self, flag_id: int, name: str | None) -> Saved:
        """Name a flag's cells; returns once the name is on disk."""
        with self._lock:
            flag = self.flag(flag_id)
            selector = {
                "kind": "flag",
                "flag": flag.id,
                "target_fpr": self.target_fpr,
                "p_value": float(flag.judged.p_value),
            }
            self._dismissed.discard(flag_id)
            table = self.flag_table()
            seen = evidence_sha256(table)
            selector |= {
                "scope": "flag",
                "parts": [{"mode": "replace", "kind": "flag", "flag": flag.id, "seen": seen}],
            }
            rows: list[ndarray] = [np.zeros(0, np.int64) for _ in self.places]
            rows[int(flag.is_query)] = flag.rows
            return self.label_rows(rows, name, selector, {seen: table})

    def flag_table(self) -> dict[str, ndarray]:
        """Which flag each flagged cell is in: `row_K` and `flag_K` of place K."""
        with self._lock:
            table: dict[str, ndarray] = {}
            for place in range(len(self.places)):
                own = [flag for flag in self._flags if int(flag.is_query) == place]
                rows = [np.asarray(flag.rows, np.int64) for flag in own]
                table[f"row_{place}"] = np.concatenate([np.zeros(0, np.int64), *rows])
                table[f"flag_{place}"] = np.repeat(
                    np.array([flag.id for flag in own], np.int64), [len(some) for some in rows]
                )
            return table

    def label_rows(
        self,
        rows: Sequence[Any],
        name: str | None,
        selector: dict[str, Any],
        evidence: Mapping[str, Arrays] | None = None,
    ) -> Saved:
        """Name cells of each place; returns once the name is on disk.

        Parameters
        ----------
        rows
            Store rows, one array per place; empty where none is meant.
        name
            None takes a name away.
        selector
            How the cells were chosen.
        evidence
            What the selector refers to, by sha256: it is on disk before the label is.
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
            for place, some in zip(self.places, chosen, strict=True):
                for sha256, arrays in (evidence or {}).items() if len(some) else ():
                    save_evidence(place.journal.folder, sha256, arrays)
            entries = [
                place.journal.label(some, name, how=how, model=self._model)
                for place, some in zip(self.places, chosen, strict=True)
                if len(some)
            ]
            self.version += 1
            return Saved(
                label=entries[-1].new, n_cells=n_cells, saved_at=entries[-1].time, n_saved=self.history.n_saved
            )

    def dismiss(self, flag_id: int) -> FlagState:
        """Put a flag aside; its state."""
        with self._lock:
            self.flag(flag_id)
            self._dismissed.add(flag_id)
            self.version += 1
            return self.state_of(flag_id)

    def reopen(self, flag_id: int) -> FlagState:
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
    def history(self) -> History:
        """What can be undone and redone, read from the journals."""
        return self._read_journals()[0]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every name that any place's journal knows."""
        return self._read_journals()[1]

    @property
    def journals(self) -> str:
        """Names of the journals that hold labels; where none does, of the one that the run's own cells go to."""
        held = [place.journal for place in self.places if place.journal.entries] or [self.places[0].journal]
        return " and ".join(journal.folder.name for journal in held)

    def _read_journals(self) -> tuple[History, tuple[str, ...]]:
        """History and vocabulary, read again when a journal has grown, here or by `atlas.labels`."""
        with self._lock:
            lengths = tuple(len(place.journal.entries) for place in self.places)
            if self._read is None or self._read[0] != lengths:
                names = dict.fromkeys(name for place in self.places for name in place.journal.vocabulary)
                if self._read is not None:
                    self.version += 1
                self._read = (lengths, History.read([place.journal for place in self.places]), tuple(names))
            return self._read[1:]

    def given(self) -> tuple[ndarray, ...]:
        """The label given by hand to each cell of each place; None where none."""
        return tuple(place.journal.current() for place in self.places)

    def state_of(self, flag_id: int) -> FlagState:
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
                calibration=self._calibration(),
                curve_target_fpr=curve[0],
                curve_n_flagged=curve[1],
                flags=tuple(self._view(flag, given[int(flag.is_query)]) for flag in self._flags),
            )

    def _calibration(self) -> str:
        """What each place was calibrated on; with its name where they differ."""
        told = [
            (place.name, novelty.calibration)
            for place, novelty in zip(self.places, self._novelty, strict=False)
            if novelty is not None
        ]
        if len({text for _, text in told}) == 1:
            return told[0][1]
        return "; ".join(f"{name}: {text}" for name, text in told)

    def _view(self, flag: BoardFlag, given: ndarray) -> FlagView:
        place = self.places[int(flag.is_query)]
        judged = flag.judged
        view = FlagView(
            id=flag.id,
            atlas=place.name,
            n_cells=len(flag.rows),
            p_value=float(judged.p_value),
            batches=tuple((str(name), int(n)) for name, n in dict(judged.batches).items()),
            nearest=tuple((str(name), float(radii)) for name, radii in judged.nearest),
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


def _curve(novelties: Sequence[JudgedNovelty]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Cells flagged at each threshold, summed over places (their grids are the same)."""
    total: dict[float, int] = {}
    for novelty in novelties:
        for target_fpr, n_flagged in zip(novelty.curve["target_fpr"], novelty.curve["n_flagged"], strict=True):
            total[float(target_fpr)] = total.get(float(target_fpr), 0) + int(n_flagged)
    return tuple(sorted(total)), tuple(total[key] for key in sorted(total))
