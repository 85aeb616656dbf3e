"""Labels as a person gives and takes them back, in the journals of the atlases that the cells come from.

Each is synced before this module says "saved". What can be undone is read back from the journals, so that it is
the same after a restart.
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.atlas.entries import Entry
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError
from livelatent.session.evidence import Arrays, save_evidence
from livelatent.session.undo import History, Step

__all__ = ["Ledger", "Place", "Saved"]


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


class Ledger:
    """Labels of several atlases as one history.

    Parameters
    ----------
    places
        The run's atlas and, where there is one, the query.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.version = 0
        """Grows with every change that a view must show."""
        self.model: str | None = None
        """sha256 of the model that a person sees, kept with each label."""
        self._lock = threading.RLock()
        self._read: tuple[tuple[int, ...], History, tuple[str, ...]] | None = None
        self._read_journals()

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
            named = [(place.journal, some) for place, some in zip(self.places, chosen, strict=True) if len(some)]
            with _all_written(journal for journal, _ in named):
                for journal, _ in named:
                    for sha256, arrays in (evidence or {}).items():
                        save_evidence(journal.folder, sha256, arrays)
                entries: list[Entry] = []
                try:
                    for journal, some in named:
                        entries.append(journal.label(some, name, how=how, model=self.model))
                except BaseException:
                    # "Not saved" is said of all of it, so no half may stand.
                    for journal, _ in named[: len(entries)]:
                        journal.undo()
                    raise
            self.version += 1
            return Saved(
                label=entries[-1].new, n_cells=n_cells, saved_at=entries[-1].time, n_saved=self.history.n_saved
            )

    def undo(self) -> str | None:
        """Take the last label back, in every journal that it went to; what it was."""
        return self._back(redo=False)

    def redo(self) -> str | None:
        """Give the last label taken back again; what it was."""
        return self._back(redo=True)

    def _back(self, *, redo: bool) -> str | None:
        with self._lock:
            step = self._next_back(redo)
            if step is None:
                return None
            journals = [self.places[index].journal for index in sorted(step.places)]
            with _all_written(journals):
                # Only the writer knows what another process has written meanwhile.
                now = self._next_back(redo)
                if now is None or now.action != step.action:
                    raise LabelError(
                        f"labels were given elsewhere meanwhile, so nothing was {'redone' if redo else 'undone'}. "
                        "Look at them, and ask again."
                    )
                for journal in journals:
                    if redo:
                        journal.redo()
                    else:
                        journal.undo()
            self.version += 1
            return step.what

    def _next_back(self, redo: bool) -> Step | None:
        history = self.history
        steps = history.redo if redo else history.undo
        return steps[-1] if steps else None

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
        """Names of the journals that hold labels; where none does, of the one that the run's own cells go to.

        Empty where that one needs a folder first: a store that is only read has none of its own.
        """
        held = [place.journal for place in self.places if place.journal.entries] or [self.places[0].journal]
        return " and ".join(journal.folder.name for journal in held if not journal.is_homeless)

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


@contextmanager
def _all_written(journals: Iterable[LabelJournal]) -> Iterator[None]:
    """Be the writer of all these journals before the first byte goes to one of them."""
    with ExitStack() as held:
        for journal in journals:
            held.enter_context(journal.writing())
        yield
