"""What a person did with flags, beside the journal: dismissed, merged, cut. Never in the history of labels.

A flag's number means nothing to another session, so a mark is a set of cells with a uuid: flags found later
that hold them are the same flag, see `hand_made.py`, and two views that count alike never meet in one mark.
"""

import json
import logging
import time
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent import atomic
from livelatent.arrays import Int
from livelatent.atlas.entries import as_json
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LivelatentError, StoreBusyError, StoreError

__all__ = ["FlagMark", "MarkFile"]

log = logging.getLogger(__name__)

FILE, LOCK = "flags.json", ".flags.lock"
FORMAT = 2
OLDEST = 1
"""Format 1 had no uuid: a mark was known by its flag's number."""
TRIES, PAUSE_S = 40, 0.05
"""Another process holds the lock for one small write: two seconds are plenty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FlagMark:
    """What was done with one flag."""

    id: int
    """The flag's number where it was done; another session may have to count it anew."""
    rows: Int[ndarray, " cell"]
    """Its cells when it was done, ascending."""
    uuid: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_dismissed: bool = False
    is_hand_made: bool = False
    """Whether a merge or a cut made it."""


class MarkFile:
    """The marks of one atlas, as they lie on disk.

    Parameters
    ----------
    journal
        That of the atlas's labels: the file lies beside it. Where it has no home, marks last as long as the view.
    """

    def __init__(self, journal: LabelJournal) -> None:
        self._journal = journal
        self.problem: str | None = None
        """Why marks are not kept, or could not be read; None if nothing is wrong."""

    @property
    def path(self) -> Path | None:
        """The file; None where nothing is kept."""
        return None if self._journal.is_homeless else self._journal.folder / FILE

    def read(self) -> tuple[FlagMark, ...]:
        """Marks in the order they were made; none, and a `problem`, where the file is damaged."""
        path = self.path
        if path is None:
            return ()
        try:
            marks = self._read(path)
        except StoreError as error:
            log.warning("%s", error)
            self.problem = str(error)
            return ()
        self.problem = None
        return tuple(marks.values())

    def change(self, changed: Iterable[FlagMark], gone: Iterable[str]) -> None:
        """Put marks in place of those of the same uuid, take others away; on disk when this returns, or a `problem`.

        Raises
        ------
        StoreError
            If the file there is damaged: it is left as it is.
        """
        path = self.path
        if path is None:
            return
        try:
            for left in reversed(range(TRIES)):
                try:
                    with atomic.only_writer(path.parent / LOCK, f"what was done with flags ({path})"):
                        # Another view may have written since: only what changed here is changed there.
                        marks = self._read(path)
                        for one in (*gone, *(mark.uuid for mark in changed)):
                            marks.pop(one, None)
                        self._write(path, [*marks.values(), *changed])
                    return
                except StoreBusyError:
                    if not left:
                        raise
                    time.sleep(PAUSE_S)
        except StoreError:
            raise
        except (LivelatentError, OSError) as error:
            # A store that can only be read is looked at all the same; the mark lasts as long as this view.
            log.warning("%s could not be written: %s", path, error)
            self.problem = f"What is done with flags is forgotten when this view closes: {error}"

    def _read(self, path: Path) -> dict[str, FlagMark]:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{path} can't be read ({error.strerror}). Nothing was changed.") from error
        try:
            stored = json.loads(data)
            flags = stored["flags"]
            if stored["format"] not in range(OLDEST, FORMAT + 1):
                raise ValueError(f"it has format {stored['format']}, this version reads {OLDEST} to {FORMAT}")
            if stored["crc"] != _crc_of(flags):
                raise ValueError("its checksum is another")
            marks = [self._mark(one) for one in flags]
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise StoreError(
                f"{path} is damaged ({error}). It says which flags were dismissed, merged or cut; labels are elsewhere "
                "and whole. Restore it from a backup, or delete it."
            ) from error
        return {mark.uuid: mark for mark in marks}

    def _mark(self, one: dict[str, Any]) -> FlagMark:
        number, n_cells = one["id"], one["n_cells"]
        if type(number) is not int or type(n_cells) is not int or number < 1 or n_cells < 1:
            raise ValueError(f"flag {number!r} of {n_cells!r} cells")
        return FlagMark(
            id=number,
            # Each view that reads an old file has to call its marks the same.
            uuid=str(one.get("uuid", f"flag {number}")),
            rows=self._journal.unpacked(one["cells"], n_cells),
            is_dismissed=bool(one["dismissed"]),
            is_hand_made=bool(one["hand_made"]),
        )

    def _write(self, path: Path, marks: Iterable[FlagMark]) -> None:
        flags = [
            {
                "uuid": mark.uuid,
                "id": mark.id,
                "dismissed": mark.is_dismissed,
                "hand_made": mark.is_hand_made,
                "n_cells": len(mark.rows),
                "cells": self._journal.packed(np.asarray(mark.rows, np.int64)),
            }
            for mark in marks
            if len(mark.rows)
        ]
        atomic.write_json(path, {"format": FORMAT, "flags": flags, "crc": _crc_of(flags)})


def _crc_of(flags: list[dict[str, Any]]) -> str:
    return f"{zlib.crc32(as_json({'flags': flags}).encode()):08x}"
