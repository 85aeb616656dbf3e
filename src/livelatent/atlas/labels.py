"""The label journal: what was named by hand, appended line by line, on disk before it is acknowledged."""

import getpass
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from livelatent.arrays import as_rows
from livelatent.atlas.columns import is_none
from livelatent.atlas.entries import Entry, checked_name, pack_rows, unpack_rows
from livelatent.atlas.journal_file import JournalFile, has_entries, open_file
from livelatent.atlas.layout import LABEL
from livelatent.errors import LabelError, StoreError

if TYPE_CHECKING:
    from livelatent.atlas.export_labels import Exported, LabelledCells

__all__ = ["LabelJournal", "has_entries", "sources_of", "user_name"]


class LabelJournal:
    """Labels given by hand to the cells of one atlas.

    The first write takes the writer's lock and keeps it until `close()` or the end of the process (a killed one
    included), since undo would mean little among several writers. Within one process, all journals of one folder
    are one writer: what one appends, the others have.

    Parameters
    ----------
    folder
        Where the journal lies; made at the first write. None (a store that is only read): nothing can be labelled.
    source, source_row
        Where each cell comes from: the journal names cells by that, so that it outlives a reshuffled store.
    written
        The label that each cell's own column gives it, None where it gives none.
    names
        What the sources call the cells; `export` matches by them where a source has changed.
    sources
        What the sources were when they were ingested: `uns["livelatent"]["sources"]`.
    """

    def __init__(
        self,
        folder: Path | None,
        source: Shaped[ndarray, " cell"],
        source_row: Int[ndarray, " cell"],
        written: Shaped[ndarray, " cell"],
        *,
        names: Shaped[ndarray, " cell"] | None = None,
        sources: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._folder = folder
        self._written = written
        self._cell_names = names
        self._sources = tuple(sources)
        self._names, self._source = np.unique(source.astype(str), return_inverse=True)
        self._source_row = source_row.astype(np.int64)
        self._by_origin = np.lexsort((self._source_row, self._source))
        self._file = None if folder is None else open_file(folder)

    @property
    def folder(self) -> Path:
        """Where the journal lies.

        Raises
        ------
        LabelError
            If the store is only read, and no folder was named.
        """
        return self._its_file.folder

    @property
    def is_homeless(self) -> bool:
        """Whether a folder must be named before the first label: the store is only read."""
        return self._file is None

    @property
    def _its_file(self) -> JournalFile:
        if self._file is None:
            raise LabelError(
                "a store that is only read (remote, or not ingested) keeps no labels, so a folder of this machine is "
                'to be named first: Atlas.open(address, journal="my-labels"), or open_foreign(file, journal=...).'
            )
        return self._file

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._its_file.path

    @property
    def torn(self) -> str | None:
        """What was wrong with the journal's end, and where the torn line went; None if nothing."""
        return None if self._file is None else self._file.torn

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        return () if self._file is None else tuple(self._file.entries)

    @property
    def standing(self) -> tuple[Entry, ...]:
        """The labels that have not been taken back, oldest first."""
        return () if self._file is None else self._file.standing()

    @property
    def n_undo(self) -> int:
        """How many labels `undo()` can take back."""
        return 0 if self._file is None else len(self._file.done)

    @property
    def n_redo(self) -> int:
        """How many labels `redo()` can give again."""
        return 0 if self._file is None else len(self._file.undone)

    def rows_of(self, entry: Entry) -> Int[ndarray, " cell"]:
        """The entry's cells as rows of this store; cells that the store does not hold are left out."""
        try:
            return self.unpacked(entry.cells, entry.n_cells)
        except (ValueError, zlib.error) as error:
            raise StoreError(
                f"{self.path}: the cells of line {entry.seq + 1} can't be read ({error}). Nothing was changed. "
                "Restore the file from a backup."
            ) from error

    def packed(self, rows: Int[ndarray, " cell"]) -> dict[str, str]:
        """Cells by where they come from, as text: for each source its rows."""
        cells = {}
        for position in np.unique(self._source[rows]):
            own = np.sort(self._source_row[rows[self._source[rows] == position]])
            cells[str(self._names[position])] = pack_rows(own)
        return cells

    def unpacked(self, cells: Mapping[str, str], most_cells: int) -> Int[ndarray, " cell"]:
        """Rows of this store that `packed` named; cells that the store does not hold are left out.

        Raises
        ------
        ValueError, zlib.error
            If they can't be read, or a source has more than `most_cells`.
        """
        found = [np.empty(0, np.int64)]
        for name, packed in cells.items():
            position = int(np.searchsorted(self._names, name))
            if position == len(self._names) or self._names[position] != name:
                continue
            first, last = np.searchsorted(self._source[self._by_origin], [position, position + 1])
            mine = self._by_origin[first:last]
            wanted = unpack_rows(packed, most_cells)
            place = np.minimum(np.searchsorted(self._source_row[mine], wanted), max(mine.size - 1, 0))
            found.append(mine[place[self._source_row[mine][place] == wanted]])
        return np.sort(np.concatenate(found)).astype(np.int64)

    def current(self) -> Shaped[ndarray, " cell"]:
        """The label given by hand to each cell, None where none was."""
        result = np.full(self._source_row.size, None, dtype=object)
        for entry in self.standing:
            result[self.rows_of(entry)] = entry.new
        return result

    def shown(self) -> Shaped[ndarray, " cell"]:
        """The label of each cell: the one given by hand, else its own column's; None where there is neither."""
        by_hand = self.current()
        return np.where(is_none(by_hand), self._written, by_hand)

    # Writing

    def label(
        self,
        rows: object,
        name: str | None,
        how: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Entry:
        """Name cells (None takes the name given by hand away); on disk when this returns.

        Parameters
        ----------
        rows
            Rows of the store, or a mask.
        how
            How the cells were chosen (a flag, a lasso), for whoever reads the journal later.
        model
            Hash of the model that they were chosen with.

        Raises
        ------
        LabelError
            If the name is none, or no cell was chosen.
        StoreBusyError
            If another process is labelling this atlas.
        """
        chosen = as_rows(rows, self._source_row.size)
        if not chosen.size:
            raise LabelError("no cell was chosen, so there is nothing to label.")
        new = None if name is None else checked_name(name)
        with self._its_file.writing(self) as file:
            before = Counter("" if name is None else str(name) for name in self.shown()[chosen])
            return file.append(
                Entry(
                    seq=len(file.entries),
                    event="label",
                    user=user_name(),
                    time=now(),
                    cells=self.packed(chosen),
                    n_cells=int(chosen.size),
                    old=dict(before),
                    new=new,
                    how=dict(how or {}),
                    model=model,
                    undoes=None,
                )
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the writer of the journal, and know all that stands in it; several may be held before any is written.

        Raises
        ------
        StoreBusyError
            If another process is labelling this atlas.
        LabelError
            If the store is only read and no folder was named, or the folder can't be written.
        """
        with self._its_file.writing(self):
            yield

    def undo(self) -> Entry | None:
        """Take the last label back; None where there is none."""
        return self._again("undo")

    def redo(self) -> Entry | None:
        """Give the label again that was last taken back; None where there is none."""
        return self._again("redo")

    def _again(self, event: str) -> Entry | None:
        if self._file is None:
            return None
        with self._file.writing(self) as file:
            stack = file.done if event == "undo" else file.undone
            if not stack:
                return None
            label = file.entries[stack[-1]]
            return file.append(
                replace(label, seq=len(file.entries), event=event, user=user_name(), time=now(), undoes=label.seq)
            )

    def close(self) -> None:
        """Give the writer's lock back, unless another journal of this folder still writes here."""
        if self._file is not None:
            self._file.release(self)

    def export(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str] | None = None,
        *,
        column: str = LABEL,
        overwrite: bool = False,
    ) -> "Exported":
        """Write the labels into a copy of one of the sources, in its own row order.

        Parameters
        ----------
        path
            The source: an `.h5ad` file or a Zarr folder. It is never changed.
        out
            The copy, `NAME.labelled.h5ad` beside the store by default; or a `.csv` of names and labels.
        column
            The new obs column: the label given by hand, else the source's own, else missing.
        """
        from livelatent.atlas.export_labels import export_labels

        home = Path.cwd() if self.folder is None else self.folder.parent
        return export_labels(self._cells(), path, out, home=home, column=column, overwrite=overwrite)

    def _cells(self) -> "LabelledCells":
        from livelatent.atlas.export_labels import LabelledCells

        names = np.full(self._source_row.size, "", dtype=object) if self._cell_names is None else self._cell_names
        return LabelledCells(self._names[self._source], self._source_row, names, self.shown(), self._sources)

    # Vocabulary

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every name known here, sorted: those added, and those given to cells."""
        added = [] if self._file is None else self._file.added_names()
        return tuple(sorted({*added, *(entry.new for entry in self.entries if entry.new is not None)}))

    def add_name(self, name: str) -> str:
        """Add a name that no cell bears yet; the name as it was stored."""
        stored = checked_name(name)
        with self._its_file.writing(self) as file:
            file.write_names(sorted({*self.vocabulary, stored}))
        return stored


def now() -> str:
    """The time in UTC. Several journals are put in one order by it, and two labels fit in a millisecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def sources_of(facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What a store's sources were, from its `uns["livelatent"]`; nothing where that can't be read."""
    try:
        found = json.loads(str(facts.get("sources", "[]")))
    except ValueError:
        return ()
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else ()


def user_name() -> str:
    """Who is at the keyboard; "unknown" where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
