"""One line of the label journal: what it says, and how it is spelt and checked."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from livelatent.errors import LabelError

MAX_NAME = 120


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the journal."""

    seq: int
    event: str
    """`"label"`, `"undo"` or `"redo"`."""
    user: str
    time: str
    cells: dict[str, str]
    """For each source, its rows: differences, int64, zlib, base64."""
    n_cells: int
    old: dict[str, int]
    """How many of the cells bore which label before ("" is none)."""
    new: str | None
    """The name given; None takes the one given by hand away."""
    how: dict[str, Any]
    model: str | None
    undoes: int | None
    """For undo and redo: the `seq` of the label taken back or given again."""


def checked_name(name: str) -> str:
    """The name without surrounding space.

    Raises
    ------
    LabelError
        If it has not 1 to 120 characters, or one that can't be printed.
    """
    if not isinstance(name, str):
        raise LabelError(f"a label is text; got {type(name).__name__}.")
    stripped = name.strip()
    if not stripped:
        raise LabelError("a label needs at least one character that can be seen; got an empty name.")
    if len(stripped) > MAX_NAME:
        raise LabelError(f"a label has at most {MAX_NAME} characters; got {len(stripped)} ({stripped[:20]}...).")
    if not stripped.isprintable():
        bad = next(letter for letter in stripped if not letter.isprintable())
        raise LabelError(f"a label has printable characters only; {stripped!r} holds {bad!r}.")
    return stripped


def pack_rows(rows: Int[ndarray, " cell"]) -> str:
    """Sorted row numbers as text: neighbours differ little, so their differences compress well."""
    return base64.b64encode(zlib.compress(np.diff(rows, prepend=0).astype("<i8").tobytes())).decode()


def unpack_rows(text: str, most_cells: int) -> Int[ndarray, " cell"]:
    """Inverse of `pack_rows`, for at most `most_cells` rows.

    Raises
    ------
    ValueError
        If there are more: a few forged bytes could else unpack to more than memory holds.
    """
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(base64.b64decode(text), 8 * most_cells + 1)
    if len(data) > 8 * most_cells or not unpacking.eof:
        raise ValueError(f"more than {most_cells} cells, or an end that is missing")
    return np.cumsum(np.frombuffer(data, "<i8")).astype(np.int64)


def as_json(value: Mapping[str, Any]) -> str:
    """One spelling of a value, so that its checksum can be told again."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_line(entry: Entry) -> bytes:
    """The entry as a line of the journal."""
    fields = dict(vars(entry))
    try:
        spelt = as_json(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise LabelError(f"how the cells were chosen can't be written as JSON ({error}); got {entry.how!r}.") from error
    return (as_json({**fields, "crc": f"{zlib.crc32(spelt.encode()):08x}"}) + "\n").encode()


def read_line(line: bytes) -> Entry | None:
    """The entry in a line, or None where the line is torn or broken."""
    try:
        fields = json.loads(line)
        crc = fields.pop("crc")
        if not line.endswith(b"\n") or crc != f"{zlib.crc32(as_json(fields).encode()):08x}":
            return None
        entry = Entry(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if is_sound(entry) else None


def is_sound(entry: Entry) -> bool:
    """Whether every field is of its kind: a checksum tells damage, not what somebody else wrote there."""
    kinds = {"seq": int, "user": str, "time": str, "cells": dict, "n_cells": int, "old": dict, "how": dict}
    return (
        entry.event in ("label", "undo", "redo")
        and all(type(getattr(entry, name)) is kind for name, kind in kinds.items())
        and isinstance(entry.new, str | None)
        and all(isinstance(rows, str) for rows in entry.cells.values())
    )
