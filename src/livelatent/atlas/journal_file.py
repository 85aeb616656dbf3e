"""One journal's file: read once, appended to by one process at a time, all of whose journals share it."""

import contextlib
import json
import os
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path

from livelatent.atlas.entries import Entry, as_json, read_line, write_line
from livelatent.atomic import append_bytes, move_tail, only_writer, write_json
from livelatent.errors import LabelError, NoPermissionError, StoreBusyError, StoreError

JOURNAL, TORN, VOCABULARY, LOCK = "journal.jsonl", "journal.torn", "vocabulary.json", ".writer.lock"

_open: "weakref.WeakValueDictionary[Path, JournalFile]" = weakref.WeakValueDictionary()
_opening = threading.Lock()


def has_entries(folder: Path) -> bool:
    """Whether a journal lies in `folder` that has ever been written to."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / JOURNAL).stat().st_size > 0
    return False


def open_file(folder: Path) -> "JournalFile":
    """The file of the journal in `folder`, as it is on disk now; one object for all who ask in this process."""
    with _opening:
        file = _open.get(folder.resolve())
        if file is None or file.process != os.getpid():
            file = JournalFile(folder)
            _open[folder.resolve()] = file
        else:
            file.refresh()
        return file


class JournalFile:
    """The lines of one journal, and the right to append to them.

    Users are told apart by identity: the lock is given back when the last one that wrote has released it or is gone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = os.getpid()
        self.torn: str | None = None
        self._guard = threading.RLock()
        self._lock = contextlib.ExitStack()
        self._writers: weakref.WeakSet[object] = weakref.WeakSet()
        self._holds_lock = False
        self.refresh()

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / JOURNAL

    # Reading

    def refresh(self) -> None:
        """See what other processes have written; a torn end is set aside where nobody else writes."""
        with self._guard:
            if self._is_mine():
                return
            self.torn = None
            self._read()
            if self.torn is not None:
                with (
                    contextlib.suppress(StoreBusyError, OSError),
                    only_writer(self.folder / LOCK, str(self.folder)),
                ):
                    self._set_aside()

    def _is_mine(self) -> bool:
        """Whether we are the writer, and what we know is what lies there (the folder may have been moved away)."""
        if self._holds_lock and self._size != (self.path.stat().st_size if self.path.exists() else 0):
            self._give_back()
        return self._holds_lock

    def _give_back(self) -> None:
        self._lock.close()
        self._holds_lock = False

    def _read(self) -> None:
        """Read the whole file; only its last line may be broken."""
        self.entries: list[Entry] = []
        self.done: list[int] = []
        self.undone: list[int] = []
        self._size = 0
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
            self.entries.append(entry)
            self._size += len(line)
            self._apply(entry)

    def _can_follow(self, entry: Entry) -> bool:
        """Whether there is a label that an undo takes back, or a redo gives again."""
        return entry.event == "label" or bool(self.done if entry.event == "undo" else self.undone)

    def _apply(self, entry: Entry) -> None:
        """Move the undo and redo stacks."""
        if entry.event == "label":
            self.done.append(entry.seq)
            self.undone = []
        elif entry.event == "undo":
            self.undone.append(self.done.pop())
        else:
            self.done.append(self.undone.pop())

    def standing(self) -> tuple[Entry, ...]:
        """The labels that have not been taken back, oldest first."""
        with self._guard:
            return tuple(self.entries[seq] for seq in self.done)

    # Writing

    @contextlib.contextmanager
    def writing(self, writer: object) -> Iterator["JournalFile"]:
        """Be the writer, on behalf of `writer`, and keep the lock afterwards.

        Raises
        ------
        StoreBusyError
            If another process is labelling this atlas.
        LabelError
            If nothing can be written there.
        """
        with self._guard:
            if self.process != os.getpid():
                raise StoreBusyError(
                    f"the label journal {self.folder} was opened by the process that this one was forked from. Open "
                    "the atlas again in this one."
                )
            if not self._is_mine():
                try:
                    self._lock.enter_context(only_writer(self.folder / LOCK, f"the label journal {self.folder}"))
                except NoPermissionError as error:
                    raise LabelError(
                        f"labels can't be kept in {self.folder}: it can't be written. Name a folder of your own: "
                        'Atlas.open(store, journal="my-labels").'
                    ) from error
                self._holds_lock = True
                self._read()
                if self.torn is not None:
                    self._set_aside()
            self._writers.add(writer)
            yield self

    def release(self, writer: object) -> None:
        """Give the lock back once nobody else in this process writes."""
        with self._guard:
            self._writers.discard(writer)
            if not self._writers:
                self._give_back()

    def append(self, entry: Entry) -> Entry:
        """Write one line, sync it, then (and only then) believe it; the entry as a later session will read it."""
        line = write_line(entry)
        append_bytes(self.path, line, end=self._size)
        stored = read_line(line)
        assert stored is not None
        self.entries.append(stored)
        self._size += len(line)
        self._apply(stored)
        return stored

    def _set_aside(self) -> None:
        """Move a torn last line to `journal.torn`; the caller holds the lock."""
        self._read()
        if move_tail(self.path, self._size, self.folder / TORN):
            self.torn = f"{self.path}: the last line was torn off and is now in {self.folder / TORN}."

    # Vocabulary

    def added_names(self) -> list[str]:
        """Names that were added without cells."""
        return read_names(self.folder / VOCABULARY)

    def write_names(self, names: list[str]) -> None:
        """Replace the names that were added."""
        write_json(self.folder / VOCABULARY, {"format": 1, "names": names, "crc": crc_of(names)})


def read_names(path: Path) -> list[str]:
    """The names in a vocabulary; none where there is no such file."""
    if not path.exists():
        return []
    try:
        stored = json.loads(path.read_bytes())
        names = [str(name) for name in stored["names"]]
        # Files written before 0.1.0 was out have no crc.
        is_whole = stored.get("crc", crc_of(names)) == crc_of(names) and stored.get("format") == 1
        if not is_whole or not set(stored) <= {"format", "names", "crc"}:
            raise ValueError("its checksum is another")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}). Delete it; names given to cells stay.") from error
    return names


def crc_of(names: list[str]) -> str:
    """Checksum of a vocabulary."""
    return f"{zlib.crc32(as_json({'names': names}).encode()):08x}"
