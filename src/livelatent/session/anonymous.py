"""What leaves the machine in a page or a picture: never a path, and on request no batch and no file name."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from livelatent.session.state import CellValues, FlagList, LatentMap, PrototypeView, Status, Topic

__all__ = ["anonymised", "without_paths"]


def without_paths(topics: Sequence[Topic], folders: Iterable[Path]) -> list[Topic]:
    """The topics with every mention of these folders cut down to what lies in them.

    Error messages name files; where they lie is nobody's business but the owner's.
    """
    known = {Path.home(), *folders, *(folder.absolute() for folder in folders)}
    words = {f"{folder}/": "" for folder in known if folder != Path(folder.anchor)}
    return [_replaced(topic, words) for topic in topics]


def anonymised(topics: Sequence[Topic]) -> list[Topic]:
    """The topics with batches, files and single cells numbered instead of named."""
    words: dict[str, str] = {}
    for topic in topics:
        if isinstance(topic, LatentMap):
            words |= {name: f"batch {number}" for number, name in enumerate(topic.batch_names, 1)}
    for topic in topics:
        if isinstance(topic, FlagList):
            for flag in topic.flags:
                for name, _ in flag.batches:
                    words.setdefault(name, f"batch {len(words) + 1}")
        if isinstance(topic, Status):
            words |= {topic.store: "atlas"} | ({topic.query: "query"} if topic.query else {})
    return [_anonymous(topic, words) for topic in topics]


def _anonymous(topic: Topic, words: dict[str, str]) -> Topic:
    match topic:
        case LatentMap():
            # Type names stay as they are, even where a batch bears the same one.
            return replace(topic, batch_names=tuple(words[name] for name in topic.batch_names))
        case PrototypeView():
            # A cell's name often begins with its donor's or its file's.
            return replace(topic, medoids=tuple(f"cell {number}" for number in range(1, len(topic.medoids) + 1)))
        case FlagList():
            flags = tuple(
                replace(
                    flag,
                    atlas=words.get(flag.atlas, "atlas"),
                    batches=tuple((words[name], n) for name, n in flag.batches),
                    reason=_replaced(flag.reason, words),
                    technical=_replaced(flag.technical, words),
                )
                for flag in topic.flags
            )
            said = {name: _replaced(getattr(topic, name), words) for name in ("calibration", "warnings")}
            return replace(topic, flags=flags, **said)
        case Status():
            said = {name: _replaced(getattr(topic, name), words) for name in ("message", "alarms", "notes")}
            query = None if topic.query is None else "query"
            return replace(topic, **said, store="atlas", query=query, journal="atlas.labels")
        case CellValues(by="obs"):
            # A column of obs may name donors, and a number may tell them apart.
            return CellValues()
    return topic


def _replaced(value: Any, words: dict[str, str]) -> Any:
    """Any value with words replaced in its texts, the longest first."""
    if isinstance(value, str):
        for word in sorted(words, key=len, reverse=True):
            if word:
                value = value.replace(word, words[word])
        return value
    if isinstance(value, tuple):
        return tuple(_replaced(item, words) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: _replaced(item, words) for name, item in changed.items()})
    return value
