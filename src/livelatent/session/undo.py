"""What can be undone and redone, read from the journals, so that it is the same after a restart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from livelatent.atlas.entries import Entry
from livelatent.atlas.labels import LabelJournal

__all__ = ["History", "Step"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that can be undone: a label that may have gone to two journals."""

    action: str
    """The same in both journals' `how`."""
    time: str
    what: str
    """In words."""
    places: frozenset[int]
    """Which journals it went to."""


@dataclass(frozen=True)
class History:
    """What can be undone (last one last) and redone (next one last)."""

    undo: tuple[Step, ...]
    redo: tuple[Step, ...]

    @property
    def n_saved(self) -> int:
        """Labels on disk that have not been undone."""
        return len(self.undo)

    @classmethod
    def read(cls, journals: Sequence[LabelJournal]) -> "History":
        """Replay the journals; a label that went to two of them is one step."""
        undo: list[tuple[str, int, Entry]] = []
        redo: list[tuple[str, int, Entry]] = []
        for index, journal in enumerate(journals):
            done: list[Entry] = []
            undone: list[tuple[str, Entry]] = []
            for entry in journal.entries:
                if entry.event == "label":
                    done.append(entry)
                    undone.clear()
                elif entry.event == "undo" and done:
                    undone.append((entry.time, done.pop()))
                elif entry.event == "redo" and undone:
                    done.append(undone.pop()[1])
            undo += [(entry.time, index, entry) for entry in done]
            redo += [(time, index, entry) for time, entry in undone]
        # Sorting is stable and a journal's own entries are in order of time. Redo runs backwards: what was
        # undone last comes back first.
        undo.sort(key=lambda item: item[0])
        redo.sort(key=lambda item: item[0])
        last_label = max((time for time, _, _ in undo), default="")
        fresh = [item for item in redo if item[0] >= last_label]
        return cls(_steps(undo), _steps(fresh))


def _steps(items: list[tuple[str, int, Entry]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for time, index, entry in items:
        action = str(entry.how.get("action", f"{index}:{entry.seq}"))
        if steps and steps[-1].action == action:
            steps[-1] = replace(steps[-1], places=steps[-1].places | {index})
            continue
        what = f"{entry.n_cells} cells: {'no label' if entry.new is None else entry.new}"
        steps.append(Step(action=action, time=time, what=what, places=frozenset({index})))
    return tuple(steps)
