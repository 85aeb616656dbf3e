"""Flags and their threshold: what a person does with them, as a state machine without Jupyter.

Names go to the `Ledger`, and are read back from it: so a flag shows the same after an undo, a lasso and a restart.
What is dismissed, merged or cut is never in the history of labels.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.errors import LabelError
from livelatent.session.board_flag import BoardFlag
from livelatent.session.evidence import evidence_sha256
from livelatent.session.flag_curve import HIGHEST, FlagCurve, flag_curve
from livelatent.session.flag_table import FlagTable, JudgedNovelty
from livelatent.session.flag_view import view_of
from livelatent.session.ledger import Ledger, Place, Saved
from livelatent.session.state import FlagList, FlagState

__all__ = ["Board"]


class Board:
    """What is flagged, named, dismissed and undone.

    Parameters
    ----------
    places
        The run's atlas and, where there is one, the query.
    """

    def __init__(self, places: Sequence[Place], *, target_fpr: float = 0.05) -> None:
        self.ledger = Ledger(places)
        """Labels, and what can be undone."""
        self.places = self.ledger.places
        self.target_fpr = _checked(target_fpr)
        self._n_changes = 0
        self.judged = 0
        """Grows with every new set of scores or flags."""
        self._shaping = threading.RLock()
        """Held by whoever changes flags, for seconds where expression is read; `_lock`, taken after it, never is."""
        self._lock = threading.RLock()
        self._novelty: tuple[JudgedNovelty | None, ...] = (None,) * len(self.places)
        self._table = FlagTable([place.journal for place in self.places])
        self._computing = self._n_told = 0
        self._curve_seen: tuple[object, tuple[int, ...], FlagCurve] | None = None

    # What was found

    def show(
        self, novelties: Sequence[JudgedNovelty | None], model: str | None = None, target_fpr: float | None = None
    ) -> None:
        """Take new scores, at their own threshold if it is another; flags that overlap an earlier one keep its id."""
        with self._shaping:
            self._show(novelties, model, self.target_fpr if target_fpr is None else _checked(target_fpr))

    def show_found(self, novelties: Sequence[JudgedNovelty | None], model: str | None, target_fpr: float) -> None:
        """Take scores that were asked for at `target_fpr`, at the threshold that somebody may have set since."""
        with self._shaping:
            at = novelties if self.target_fpr == target_fpr else _all_at(novelties, self.target_fpr)
            self._show(at, model, self.target_fpr)

    def threshold(self, target_fpr: float) -> int:
        """Flag at another expected share of false alarms; the number of cells flagged."""
        target_fpr = _checked(target_fpr)  # said before anything is said to be computed
        with self.computing(), self._shaping:
            try:
                at = _all_at(self._novelty, target_fpr)
            except ValueError as error:
                raise LabelError(str(error)) from error
            self._show(at, self.ledger.model, target_fpr)
        return self.n_flagged

    def _show(self, novelties: Sequence[JudgedNovelty | None], model: str | None, target_fpr: float) -> None:
        table = self._table.copy()
        table.show(novelties)
        with self._lock:
            # Readers see scores, threshold, flags and model of one find.
            self._novelty, self._table = tuple(novelties), table
            self.target_fpr, self.ledger.model = target_fpr, model
            self._n_changes += 1
            self.judged += 1

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Say that flags are being computed, as long as this lasts."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._computing += change
            self._n_told += 1

    @property
    def version(self) -> int:
        """Grows with every change that a view must show."""
        return self._n_changes + self.ledger.version

    @property
    def flags_version(self) -> int:
        """Grows with every change of the flags, and when their computing begins and ends, which no map shows."""
        return self.version + self._n_told

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
        return self._table.flags

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps dismissals, merges and cuts from being kept."""
        return self._table.problems

    def flag(self, flag_id: int) -> BoardFlag:
        """One flag by its id.

        Raises
        ------
        LabelError
            If there is none.
        """
        return self._table.flag(flag_id)

    # What a person does

    def label_flag(self, flag_id: int, name: str | None, *, n_seen: int | None = None) -> Saved:
        """Name a flag's cells; returns once the name is on disk.

        Parameters
        ----------
        n_seen
            How many cells it had where it was seen: a flag keeps its id when it is computed again.

        Raises
        ------
        LabelError
            If there is no such flag, it has other cells by now, or the name can't be saved.
        """
        with self._lock:
            flag = self.flag(flag_id)
            if n_seen is not None and n_seen != len(flag.rows):
                raise LabelError(
                    f"flag {flag_id} was computed again and has {len(flag.rows)} cells now, where {n_seen} were shown: "
                    "nothing was named. Look at it once more."
                )
            selector = {
                "kind": "flag",
                "flag": flag.id,
                "target_fpr": self.target_fpr,
                "p_value": float(flag.judged.p_value),
            }
            table = self.flag_table()
            seen = evidence_sha256(table)
            selector |= {
                "scope": "flag",
                "parts": [{"mode": "replace", "kind": "flag", "flag": flag.id, "seen": seen}],
            }
            rows: list[ndarray] = [np.zeros(0, np.int64) for _ in self.places]
            rows[int(flag.is_query)] = flag.rows
            return self.ledger.label_rows(rows, name, selector, {seen: table})

    def flag_table(self) -> dict[str, ndarray]:
        """Which flag each flagged cell is in: `row_K` and `flag_K` of place K."""
        with self._lock:
            table: dict[str, ndarray] = {}
            for place in range(len(self.places)):
                own = [flag for flag in self.flags if int(flag.is_query) == place]
                rows = [np.asarray(flag.rows, np.int64) for flag in own]
                table[f"row_{place}"] = np.concatenate([np.zeros(0, np.int64), *rows])
                table[f"flag_{place}"] = np.repeat(
                    np.array([flag.id for flag in own], np.int64), [len(some) for some in rows]
                )
            return table

    def dismiss(self, flag_id: int) -> FlagState:
        """Put a flag aside, for later sessions too; its state."""
        with self._shaping:
            with self._changing() as table:
                table.dismiss(flag_id)
            return self.state_of(flag_id)

    def reopen(self, flag_id: int) -> FlagState:
        """Take a dismissed flag up again; its state."""
        with self._shaping:
            with self._changing() as table:
                table.reopen(flag_id)
            return self.state_of(flag_id)

    def merge(self, flag_ids: Sequence[int]) -> int:
        """Make several flags one, in later finds and sessions too; the id that it has."""
        with self._changing(judged=True) as table:
            return table.merge(flag_ids)

    def split(self, flag_id: int, rows: Sequence[Any]) -> int:
        """Cut a flag in two, in later finds and sessions too; the id of the part that these cells are.

        Parameters
        ----------
        rows
            Store rows, one array per place; those that the flag lacks do not matter.
        """
        with self._changing(judged=True) as table:
            place = int(table.flag(flag_id).is_query)
            return table.split(flag_id, np.unique(np.asarray(rows[place], np.int64)))

    def apart(self, flag_id: int) -> None:
        """Take a merge or a cut back: clusters are flags again as they were found."""
        with self._changing(judged=True) as table:
            table.apart(flag_id)

    @contextmanager
    def _changing(self, *, judged: bool = False) -> Iterator[FlagTable]:
        """A table to change, that takes the place of the present one once it is saved; if that fails, nothing changed.

        Parameters
        ----------
        judged
            Whether a flag has other cells afterwards, so that what was counted of it is stale.
        """
        with self._shaping:
            table = self._table.copy()
            yield table
            table.save()
            with self._lock:
                self._table = table
                self._n_changes += 1
                self.judged += judged

    # What is shown

    def state_of(self, flag_id: int) -> FlagState:
        """Whether a flag is open, named or dismissed."""
        return next(view.state for view in self.flag_list().flags if view.id == flag_id)

    def flag_list(self) -> FlagList:
        """Everything about flags that a view shows."""
        with self._lock:
            flags, given = self.flags, self.ledger.given()
            scored = [novelty for novelty in self._novelty if novelty is not None]
            curve = self._curve()
            warnings = dict.fromkeys(text for novelty in scored for text in getattr(novelty, "warnings", ()))
            return FlagList(
                target_fpr=self.target_fpr,
                n_scored=sum(len(novelty.rows) for novelty in scored),
                n_flagged=self.n_flagged,
                calibration=self._calibration(),
                warnings=(*warnings, *self.problems),
                is_computing=self._computing > 0,
                curve_target_fpr=curve.target_fpr,
                curve_n_flagged=curve.n_flagged,
                curve_by_chance=curve.by_chance,
                curve_precision=curve.precision,
                curve_coverage=curve.coverage,
                curve_of=curve.of,
                flags=tuple(
                    view_of(
                        flag,
                        self.places[int(flag.is_query)].name,
                        self.places[int(flag.is_query)].journal,
                        given[int(flag.is_query)],
                        is_dismissed=self._table.is_dismissed(flag),
                        is_hand_made=self._table.is_hand_made(flag),
                    )
                    for flag in flags
                ),
            )

    def _curve(self) -> FlagCurve:
        """The curve beside the threshold; computed again when scores or labels change."""
        lengths = tuple(len(place.journal.entries) for place in self.places)
        seen = self._curve_seen
        if seen is None or seen[0] is not self._novelty or seen[1] != lengths:
            shown = [place.journal.shown() for place in self.places]
            seen = self._curve_seen = (self._novelty, lengths, flag_curve(self._novelty, shown, self.target_fpr))
        return seen[2]

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


def _checked(target_fpr: float) -> float:
    if not 0 < target_fpr <= HIGHEST:
        raise LabelError(f"target_fpr is a share in (0, {HIGHEST}]; got {target_fpr}.")
    return float(target_fpr)


def _all_at(novelties: Sequence[JudgedNovelty | None], target_fpr: float) -> list[JudgedNovelty | None]:
    return [None if one is None else one.at(target_fpr) for one in novelties]
