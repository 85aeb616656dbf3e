"""The flags there are now: those found, as a person merged, cut or dismissed them; the same after a new find."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError
from livelatent.session.board_flag import LARGEST_ID, BoardFlag, identified
from livelatent.session.flag_marks import FlagMark, MarkFile
from livelatent.session.hand_made import Piece, laid_over

__all__ = ["FlagTable"]


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
    def flag_of(self, rows: Any, p_value: float) -> Any: ...


class FlagTable:
    """Flags and what was done with them. What changes them may read expression for seconds, so it is done on a `copy`:
    others go on reading the table as it was until the copy is saved and takes its place.

    Parameters
    ----------
    journals
        Of each atlas that cells come from, the run's first: marks lie beside them.
    """

    def __init__(self, journals: Sequence[LabelJournal]) -> None:
        self.flags: tuple[BoardFlag, ...] = ()
        self._files = tuple(MarkFile(journal) for journal in journals)
        self._novelties: tuple[JudgedNovelty | None, ...] = (None,) * len(journals)
        self._known: dict[int, BoardFlag] = {}
        self._marks: dict[int, tuple[int, FlagMark]] = {}
        """Which atlas's flag it is, and what was done with it."""
        self._unsaved: list[tuple[int, list[FlagMark], list[str]]] = []
        """Atlas, marks and uuids of marks that are gone, in the order that they changed."""
        for place, file in enumerate(self._files):
            for mark in file.read():
                # Two views, or two atlases' files, may have counted alike.
                number = mark.id if mark.id not in self._known else self._free_id()
                for other in self._without(place, mark, {number}):
                    self._marks[other.id] = (place, other)
                self._remember(place, replace(mark, id=number))

    def copy(self) -> "FlagTable":
        """Another table with the same flags and marks, on the same files."""
        other = copy.copy(self)
        other._known, other._marks, other._unsaved = dict(self._known), dict(self._marks), []
        return other

    def save(self) -> None:
        """Write what was changed in this table since it was copied.

        Raises
        ------
        StoreError
            If a file of marks is damaged.
        """
        while self._unsaved:
            place, changed, gone = self._unsaved[0]
            self._files[place].change(changed, gone)
            self._unsaved.pop(0)

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps marks from being kept."""
        return tuple(dict.fromkeys(file.problem for file in self._files if file.problem))

    # What was found

    def show(self, novelties: Sequence[JudgedNovelty | None]) -> None:
        """Take what was found; flags that largely overlap an earlier one keep its id and what was done with it."""
        found: list[tuple[bool, Any]] = []
        made: list[BoardFlag] = []
        for place, novelty in enumerate(novelties):
            if novelty is None:
                continue
            clusters = [novelty[index] for index in range(len(novelty))]
            rows = [np.asarray(one.rows, np.int64) for one in clusters]
            for piece in laid_over(rows, self._hand_made(place)):
                judged = _judged(novelty, clusters, piece)
                if piece.id is None:
                    found.append((bool(place), judged))
                else:
                    made.append(BoardFlag(id=piece.id, is_query=bool(place), rows=piece.rows, judged=judged))
        hand_made = {number for number, (_, mark) in self._marks.items() if mark.is_hand_made}
        known = {number: flag for number, flag in self._known.items() if number not in hand_made}
        flags = [*identified(found, known, first_free=self._free_id()), *made]
        if made:
            flags.sort(key=lambda flag: (flag.is_query, -len(flag.rows)))
        self._novelties = tuple(novelties)
        self.flags = tuple(flags)
        self._known.update({flag.id: flag for flag in flags})

    def flag(self, number: int) -> BoardFlag:
        """One flag by its id.

        Raises
        ------
        LabelError
            If there is none.
        """
        for flag in self.flags:
            if flag.id == number:
                return flag
        if number in self._known:
            raise LabelError(f"flag {number} is gone: flags were computed again. Choose one of those shown now.")
        there = ", ".join(str(flag.id) for flag in self.flags[:20]) or "none yet"
        raise LabelError(f"there is no flag {number}. Flags shown now: {there}.")

    def is_dismissed(self, flag: BoardFlag) -> bool:
        """Whether half of its cells or more were dismissed: what was flagged since was not looked at."""
        mark = self._mark(flag.id)
        return mark.is_dismissed and 2 * len(np.intersect1d(mark.rows, flag.rows)) >= len(flag.rows)

    def is_hand_made(self, flag: BoardFlag) -> bool:
        """Whether a merge or a cut made it."""
        return self._mark(flag.id).is_hand_made

    # What a person does

    def dismiss(self, number: int) -> None:
        """Put a flag aside."""
        flag = self.flag(number)
        if not self.is_dismissed(flag):
            self._change(flag.is_query, [replace(self._mark(number), rows=self._extent(flag), is_dismissed=True)])

    def reopen(self, number: int) -> None:
        """Take a dismissed flag up again."""
        flag, mark = self.flag(number), self._mark(number)
        if mark.is_dismissed:
            kept = [replace(mark, is_dismissed=False)] if mark.is_hand_made else []
            # Another view may have dismissed the same cells.
            gone = [
                other
                for other, (place, one) in self._marks.items()
                if place == int(flag.is_query)
                and one.is_dismissed
                and not one.is_hand_made
                and 2 * len(np.intersect1d(one.rows, flag.rows)) >= min(len(one.rows), len(flag.rows))
            ]
            self._change(flag.is_query, kept, gone)

    def merge(self, numbers: Sequence[int]) -> int:
        """Make several flags one, under the first one's id; that id. Those merged already stay so.

        Raises
        ------
        LabelError
            If fewer than two were named, they are of two atlases, or one is gone.
        """
        flags = list({flag.id: flag for flag in map(self._holder, numbers)}.values())
        if len(set(numbers)) < 2:
            raise LabelError("a merge takes two flags or more; one was named.")
        if len(flags) < 2:
            # All of them are in one flag: that was this merge, asked for again.
            return flags[0].id
        if len({flag.is_query for flag in flags}) > 1:
            raise LabelError("these flags are of two atlases: cells of the run's atlas and of the query stay apart.")
        keeps = flags[0]
        rows = np.unique(np.concatenate([self._extent(flag) for flag in flags]))
        joined = replace(self._mark(keeps.id), rows=rows, is_dismissed=False, is_hand_made=True)
        self._change(keeps.is_query, [joined], [flag.id for flag in flags[1:]])
        self.show(self._novelties)
        return keeps.id

    def split(self, number: int, rows: Int[ndarray, " cell"]) -> int:
        """Cut a flag in two: these cells become a flag of their own, the others keep the id; the new one's id.

        Raises
        ------
        LabelError
            If all of its cells, or none, are among `rows`.
        """
        flag = self.flag(number)
        is_inside = np.isin(flag.rows, rows)
        if not is_inside.any() or is_inside.all():
            which = "none" if not is_inside.any() else "all"
            raise LabelError(
                f"{which} of the {len(flag.rows):,} cells of flag {number} are selected, so there is nothing to cut. "
                "Draw around some of them."
            )
        inside = flag.rows[is_inside]
        rest = replace(self._mark(number), rows=np.setdiff1d(self._extent(flag), inside), is_hand_made=True)
        part = FlagMark(id=self._free_id(), rows=inside, is_dismissed=rest.is_dismissed, is_hand_made=True)
        self._change(flag.is_query, [rest, part])
        self.show(self._novelties)
        return part.id

    def apart(self, number: int) -> None:
        """Undo what merges and cuts made of a flag, and of those that share a found cluster with it."""
        flag = self.flag(number)
        place = int(flag.is_query)
        novelty = self._novelties[place]
        clusters = [] if novelty is None else [novelty[index] for index in range(len(novelty))]
        pieces = laid_over([np.asarray(one.rows, np.int64) for one in clusters], self._hand_made(place))
        ids, sources = {number} if self.is_hand_made(flag) else set(), set[int]()
        while True:
            more = {index for piece in pieces if piece.id in ids for index in piece.sources} - sources
            if not more:
                break
            sources |= more
            ids |= {piece.id for piece in pieces if piece.id is not None and sources & set(piece.sources)}
        self._change(flag.is_query, [], sorted(ids))
        self.show(self._novelties)

    # Marks

    def _mark(self, number: int) -> FlagMark:
        found = self._marks.get(number)
        return FlagMark(id=number, rows=np.zeros(0, np.int64)) if found is None else found[1]

    def _extent(self, flag: BoardFlag) -> ndarray:
        """Its cells; of a hand-made one also those that the present threshold does not flag."""
        mark = self._mark(flag.id)
        return np.union1d(mark.rows, flag.rows) if mark.is_hand_made else flag.rows

    def _hand_made(self, place: int) -> dict[int, ndarray]:
        return {number: mark.rows for number, (own, mark) in self._marks.items() if own == place and mark.is_hand_made}

    def _holder(self, number: int) -> BoardFlag:
        """The flag of this id, or the one that most of its cells have gone to."""
        known = self._known.get(number)
        if known is not None and all(flag.id != number for flag in self.flags):
            for flag in self.flags:
                n_shared = len(np.intersect1d(flag.rows, known.rows))
                if flag.is_query == known.is_query and self.is_hand_made(flag) and n_shared > len(known.rows) / 2:
                    return flag
        return self.flag(number)

    def _change(self, is_query: bool, changed: Iterable[FlagMark], gone: Iterable[int] = ()) -> None:
        """Change marks; a cell goes with the last hand-made flag that it was put into."""
        place, changed, gone = int(is_query), list(changed), list(gone)
        own = {mark.id for mark in changed} | set(gone)
        for mark in [mark for mark in changed if mark.is_hand_made]:
            changed += self._without(place, mark, own)
            own |= {one.id for one in changed}
        self._unsaved.append((place, changed, [self._mark(number).uuid for number in gone]))
        for number in gone:
            self._marks.pop(number, None)
        for mark in changed:
            self._remember(place, mark)

    def _without(self, place: int, mark: FlagMark, own: set[int]) -> list[FlagMark]:
        """Hand-made flags, but for these, as they are without the cells that this one has now."""
        if not mark.is_hand_made:
            return []
        return [
            replace(self._mark(number), rows=np.setdiff1d(rows, mark.rows))
            for number, rows in self._hand_made(place).items()
            if number not in own and np.isin(rows, mark.rows).any()
        ]

    def _remember(self, place: int, mark: FlagMark) -> None:
        self._marks[mark.id] = (place, mark)
        if mark.id not in self._known:
            self._known[mark.id] = BoardFlag(id=mark.id, is_query=bool(place), rows=mark.rows, judged=None)

    def _free_id(self) -> int:
        return min(max(self._known, default=0) + 1, LARGEST_ID)


def _judged(novelty: JudgedNovelty, clusters: Sequence[Any], piece: Piece) -> Any:
    """What `judge` says of a piece: anew where it is no cluster that was found."""
    whole = [clusters[index] for index in piece.sources]
    if len(whole) == 1 and len(whole[0].rows) == len(piece.rows):
        return whole[0]
    # A part has the chance of the whole; of several, the least certain one speaks.
    return novelty.flag_of(piece.rows, max(float(one.p_value) for one in whole))
