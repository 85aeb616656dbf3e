"""The label journal: what was named by hand, appended line by line, on disk before it is acknowledged."""

import contextlib
import getpass
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from livelatent.arrays import as_rows
from livelatent.atlas.entries import Entry, checked_name, pack_rows, read_line, unpack_rows, write_line
from livelatent.atomic import append_bytes, move_tail, only_writer, write_json
from livelatent.errors import LabelError, StoreBusyError, StoreError

JOURNAL, TORN, VOCABULARY, LOCK = "journal.jsonl", "journal.torn", "vocabulary.json", ".writer.lock"


def has_entries(folder: Path) -> bool:
    """Whether a journal lies in `folder` that has ever been written to."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / JOURNAL).stat().st_size > 0
    return False


class LabelJournal:
    """Labels given by hand to the cells of one atlas.

    The first write takes the writer's lock and keeps it until `close()` or the end of the process (a killed one
    included), since undo would mean little among several writers.

    Parameters
    ----------
    folder
        Where the journal lies; made at the first write.
    source, source_row
        Where each cell comes from: the journal names cells by that, so that it outlives a reshuffled store.
    written
        The label that each cell's own column gives it, None where it gives none.
    """

    def __init__(
        self,
        folder: Path,
        source: Shaped[ndarray, " cell"],
        source_row: Int[ndarray, " cell"],
        written: Shaped[ndarray, " cell"],
    ) -> None:
        self.folder = folder
        self._written = written
        self._names, self._source = np.unique(source.astype(str), return_inverse=True)
        self._source_row = source_row.astype(np.int64)
        self._by_origin = np.lexsort((self._source_row, self._source))
        self._lock = contextlib.ExitStack()
        self._holds_lock = False
        self.torn: str | None = None
        """What was wrong with the journal's end, and where the torn line went; None if nothing."""
        self._read()
        if self.torn is not None:
            with contextlib.suppress(StoreBusyError, OSError), only_writer(folder / LOCK, str(folder)):
                self._set_aside()

    # Reading

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL

    def _read(self) -> None:
        """Read the whole file; only its last line may be broken."""
        self._entries: list[Entry] = []
        self._size = 0
        self._done: list[int] = []
        self._undone: list[int] = []
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise StoreError(f"{self.path} can't be read ({error.strerror}). Nothing was changed.") from error
        lines = data.splitlines(keepends=True) if data else []
        for number, line in enumerate(lines):
            entry = read_line(line)
            if entry is not None and not self._can_follow(entry):
                entry = None
            if entry is None and number == len(lines) - 1:
                self.torn = f"{self.path}: the last line was torn off; it was never acknowledged."
                break
            if entry is None or entry.seq != number:
                raise StoreError(
                    f"{self.path}: line {number + 1} is damaged, and lines after it are not. Nothing was changed. "
                    "Restore the file from a backup, or delete that line and number the rest anew."
                )
            self._entries.append(entry)
            self._size += len(line)
            self._apply(entry)

    def _can_follow(self, entry: Entry) -> bool:
        """Whether there is a label that an undo takes back, or a redo gives again."""
        return entry.event == "label" or bool(self._done if entry.event == "undo" else self._undone)

    def _apply(self, entry: Entry) -> None:
        """Move the undo and redo stacks."""
        if entry.event == "label":
            self._done.append(entry.seq)
            self._undone = []
        elif entry.event == "undo":
            self._undone.append(self._done.pop())
        else:
            self._done.append(self._undone.pop())

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    @property
    def n_undo(self) -> int:
        """How many labels `undo()` can take back."""
        return len(self._done)

    @property
    def n_redo(self) -> int:
        """How many labels `redo()` can give again."""
        return len(self._undone)

    def rows_of(self, entry: Entry) -> Int[ndarray, " cell"]:
        """The entry's cells as rows of this store; cells that the store does not hold are left out."""
        found = [np.empty(0, np.int64)]
        for name, packed in entry.cells.items():
            position = int(np.searchsorted(self._names, name))
            if position == len(self._names) or self._names[position] != name:
                continue
            first, last = np.searchsorted(self._source[self._by_origin], [position, position + 1])
            mine = self._by_origin[first:last]
            try:
                wanted = unpack_rows(packed, entry.n_cells)
            except (ValueError, zlib.error) as error:
                raise StoreError(
                    f"{self.path}: the cells of line {entry.seq + 1} can't be read ({error}). Nothing was changed. "
                    "Restore the file from a backup."
                ) from error
            place = np.minimum(np.searchsorted(self._source_row[mine], wanted), max(mine.size - 1, 0))
            found.append(mine[place[self._source_row[mine][place] == wanted]])
        return np.sort(np.concatenate(found)).astype(np.int64)

    def current(self) -> Shaped[ndarray, " cell"]:
        """The label given by hand to each cell, None where none was."""
        result = np.full(self._source_row.size, None, dtype=object)
        for seq in self._done:
            entry = self._entries[seq]
            result[self.rows_of(entry)] = entry.new
        return result

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
        self._take_lock()
        cells = {}
        for position in np.unique(self._source[chosen]):
            own = np.sort(self._source_row[chosen[self._source[chosen] == position]])
            cells[str(self._names[position])] = pack_rows(own)
        before = self.current()[chosen]
        shown = [
            str(w if b is None else b) if (b, w) != (None, None) else ""
            for b, w in zip(before, self._written[chosen], strict=True)
        ]
        return self._append("label", cells, chosen.size, dict(Counter(shown)), new, dict(how or {}), model, None)

    def undo(self) -> Entry | None:
        """Take the last label back; None where there is none."""
        self._take_lock()
        return self._again("undo", self._done)

    def redo(self) -> Entry | None:
        """Give the label again that was last taken back; None where there is none."""
        self._take_lock()
        return self._again("redo", self._undone)

    def _again(self, event: str, stack: Sequence[int]) -> Entry | None:
        if not stack:
            return None
        entry = self._entries[stack[-1]]
        return self._append(event, entry.cells, entry.n_cells, entry.old, entry.new, entry.how, entry.model, entry.seq)

    def _append(
        self,
        event: str,
        cells: dict[str, str],
        n_cells: int,
        old: dict[str, int],
        new: str | None,
        how: dict[str, Any],
        model: str | None,
        undoes: int | None,
    ) -> Entry:
        """Write one line, sync it, then (and only then) believe it."""
        entry = Entry(
            seq=len(self._entries),
            event=event,
            user=user_name(),
            # Several journals are put in one order by this, and a fast disk syncs two labels in a millisecond.
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            cells=cells,
            n_cells=int(n_cells),
            old=old,
            new=new,
            how=how,
            model=model,
            undoes=undoes,
        )
        line = write_line(entry)
        append_bytes(self.path, line, end=self._size)
        # Read back in the form that a later session will see (a tuple in `how` is a list there).
        stored = read_line(line)
        assert stored is not None
        self._entries.append(stored)
        self._size += len(line)
        self._apply(stored)
        return stored

    def _take_lock(self) -> None:
        """Become the writer, and see what others have written before."""
        if self._holds_lock:
            return
        self._lock.enter_context(only_writer(self.folder / LOCK, f"the label journal {self.folder}"))
        self._holds_lock = True
        self._read()
        if self.torn is not None:
            self._set_aside()

    def close(self) -> None:
        """Give the writer's lock back."""
        self._lock.close()
        self._holds_lock = False

    def _set_aside(self) -> None:
        """Move a torn last line to `journal.torn`; the caller holds the lock."""
        self._read()
        if move_tail(self.path, self._size, self.folder / TORN):
            self.torn = f"{self.path}: the last line was torn off and is now in {self.folder / TORN}."

    # Vocabulary

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every name known here, sorted: those added, and those given to cells."""
        path = self.folder / VOCABULARY
        added: list[str] = []
        if path.exists():
            try:
                added = [str(name) for name in json.loads(path.read_bytes())["names"]]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{path} is damaged ({error}). Delete it; names given to cells stay.") from error
        used = [entry.new for entry in self._entries if entry.new is not None]
        return tuple(sorted({*added, *used}))

    def add_name(self, name: str) -> str:
        """Add a name that no cell bears yet; the name as it was stored."""
        stored = checked_name(name)
        self._take_lock()
        write_json(self.folder / VOCABULARY, {"format": 1, "names": sorted({*self.vocabulary, stored})})
        return stored


def user_name() -> str:
    """Who is at the keyboard; "unknown" where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
