"""Every loss term over time."""

import io
import json
import math
import threading
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from livelatent import atomic
from livelatent.arrays import Float, UInt, ndarray


class History:
    """Curves by (term, split), and marks; written by one thread and read by any.

    Values on a device are fetched when somebody reads, not once per step.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[tuple[str, str], array[int]] = {}
        self._values: dict[tuple[str, str], array[float]] = {}
        self._marks: list[tuple[int, str]] = []
        self._pending: list[tuple[int, str, str, Tensor]] = []
        self._not_finite: dict[str, int] = {}
        """The first step at which a training value of this name was no number."""

    def add(self, step: int, values: Mapping[str, Tensor | float], split: str) -> None:
        """One point on the curve of each named value."""
        with self._lock:
            for name, value in values.items():
                if isinstance(value, Tensor):
                    self._pending.append((step, name, split, value.detach()))
                else:
                    self._append(step, name, split, float(value))
            # Bounds the tensors held when nobody looks.
            if len(self._pending) > 4096:
                self._fetch()

    def mark(self, step: int, text: str) -> None:
        """Note that something happened at a step."""
        with self._lock:
            self._marks.append((step, text))

    @property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """(step, text) of stage changes and other events, in order."""
        return self.marks_from(0)

    def marks_from(self, start: int) -> tuple[tuple[int, str], ...]:
        """The same from the mark with index `start` on: a run of thousands of epochs has as many marks."""
        with self._lock:
            return tuple(self._marks[start:])

    @property
    def not_finite(self) -> tuple[int, str] | None:
        """Step and name of the first training value that was no number; None as far as values were fetched."""
        with self._lock:
            first = min(self._not_finite.items(), key=lambda pair: pair[1], default=None)
        return None if first is None else (first[1], first[0])

    def not_finite_since(self, name: str) -> int | None:
        """The same of one name alone: a metric may be undefined where the loss is not."""
        with self._lock:
            return self._not_finite.get(name)

    def begin_again(self) -> None:
        """Forget what was no number: another training begins, perhaps with other weights."""
        with self._lock:
            self._fetch()
            self._not_finite.clear()

    def names(self) -> tuple[tuple[str, str], ...]:
        """(term, split) of every curve, in order of first appearance."""
        with self._lock:
            self._fetch()
            return tuple(self._steps)

    def series(self, term: str, split: str, start: int = 0) -> tuple[UInt[ndarray, " point"], Float[ndarray, " point"]]:
        """Steps and values of one curve from its point `start` on; empty where there is no such curve."""
        with self._lock:
            self._fetch()
            steps = np.array(self._steps.get((term, split), ())[start:], dtype=np.uint32)
            return steps, np.array(self._values.get((term, split), ())[start:], dtype=np.float32)

    def cut(self, step: int) -> None:
        """Forget everything after `step`."""
        with self._lock:
            self._fetch()
            for key, steps in list(self._steps.items()):
                keep = int(np.searchsorted(np.array(steps, dtype=np.int64), step, side="right"))
                del steps[keep:], self._values[key][keep:]
            self._marks = [mark for mark in self._marks if mark[0] <= step]
            self._not_finite = {name: first for name, first in self._not_finite.items() if first <= step}

    def save(self, path: Path) -> None:
        """Write all curves to one `.npz`."""
        arrays = {}
        names = self.names()
        for number, (term, split) in enumerate(names):
            arrays[f"steps_{number}"], arrays[f"values_{number}"] = self.series(term, split)
        facts = json.dumps({"names": names, "marks": self.marks})
        buffer = io.BytesIO()
        np.savez(buffer, facts=np.frombuffer(facts.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
        atomic.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "History":
        """Read what `save` wrote."""
        history = cls()
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes().decode())
            for number, (term, split) in enumerate(facts["names"]):
                history._steps[term, split] = array("I", file[f"steps_{number}"].tolist())
                history._values[term, split] = array("f", file[f"values_{number}"].tolist())
        history._marks = [(int(step), str(text)) for step, text in facts["marks"]]
        return history

    def _fetch(self) -> None:
        if not self._pending:
            return
        values = torch.stack([value.float().reshape(()) for *_, value in self._pending]).tolist()
        for (step, name, split, _), value in zip(self._pending, values, strict=True):
            self._append(step, name, split, value)
        self._pending.clear()

    def _append(self, step: int, name: str, split: str, value: float) -> None:
        self._steps.setdefault((name, split), array("I")).append(step)
        self._values.setdefault((name, split), array("f")).append(value)
        if split == "train" and not math.isfinite(value):
            self._not_finite.setdefault(name, step)
