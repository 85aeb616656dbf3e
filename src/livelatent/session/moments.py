"""Moments of training that a person keeps, to be held against each other or against now."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int
from livelatent.errors import LivelatentError
from livelatent.judge.neighbors import nearest
from livelatent.session.look import Look
from livelatent.session.selection import bounds_of, quantised
from livelatent.session.state import Moment, Moments
from livelatent.train.history import History

__all__ = ["MOST", "Album", "MomentError", "knn_accuracy"]

MOST = 8
"""Moments kept at a time: of 20,000 cells each takes 180 KB, here and in every open page."""
NEIGHBORS = 15
ASKED_CELLS = 2_000
"""Cells whose neighbours are looked for: 2,000 among 20,000 of 100 dimensions take .2 s."""
MEAN_POINTS = 50
"""Of a training curve, averaged: one minibatch says little."""


class MomentError(LivelatentError, ValueError):
    """A moment can't be kept, or there is no such moment."""


class Album:
    """Keeps moments, at most `MOST` of them; read and written from any thread."""

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._moments: tuple[Moment, ...] = ()
        self._last_id = 0

    def keep(self, look: Look, history: History, label: Int[ndarray, " cell"]) -> Moment:
        """Keep what a look saw, with the curves up to its step.

        Parameters
        ----------
        label
            Code of each of the look's cells, -1 for none.

        Raises
        ------
        MomentError
            If as many are kept as can be, or this one is already.
        """
        with self._lock:
            self._check(look)
        panel, (xy, bounds) = look.panel, _packed(look.layout.xy)
        moment = Moment(
            id=0,
            step=look.step,
            epoch=_epoch(history, look.step),
            stage=_stage(history, look.step),
            kept_at=datetime.now(UTC).isoformat(timespec="seconds"),
            layout=look.layout.number,
            values=_values(history, look.step),
            knn_accuracy=knn_accuracy(look.latent, label),
            bounds=bounds,
            xy=xy,
            cell=panel.cell.astype(np.uint32),
            is_query=panel.is_query.astype(np.uint8),
        )
        with self._lock:
            self._check(look)  # somebody else may have kept one meanwhile
            self._last_id += 1
            moment = replace(moment, id=self._last_id)
            self._moments = (*self._moments, moment)
            self.version += 1
        return moment

    def _check(self, look: Look) -> None:
        if any(moment.layout == look.layout.number for moment in self._moments):
            raise MomentError(f"the map of step {look.step:,} is kept already; the next one comes by itself.")
        if len(self._moments) == MOST:
            raise MomentError(f"{MOST} moments are kept, and no more can be: drop one first.")

    def drop(self, moment_id: int) -> None:
        """Forget a moment.

        Raises
        ------
        MomentError
            If there is none of that number.
        """
        with self._lock:
            left = tuple(moment for moment in self._moments if moment.id != moment_id)
            if len(left) == len(self._moments):
                raise MomentError(f"no moment {moment_id} is kept.")
            self._moments = left
            self.version += 1

    def moments(self) -> Moments:
        """All that are kept."""
        return Moments(most=MOST, moments=self._moments)


def knn_accuracy(latent: Float[ndarray, "cell latent"], label: Int[ndarray, " cell"]) -> float | None:
    """Share of labelled cells whose nearest labelled neighbours have mostly their label; None of fewer than two types.

    At most `ASKED_CELLS`, evenly chosen, are asked; a tie goes to the label that comes first.
    """
    known = np.flatnonzero(label >= 0)
    if len(np.unique(label[known])) < 2:
        return None
    asked = np.unique(np.linspace(0, len(known) - 1, min(ASKED_CELLS, len(known))).astype(np.int64))
    points = latent[known]
    _, index = nearest(points[asked], points, min(NEIGHBORS, len(known) - 1), own=asked)
    codes = label[known]
    votes = np.zeros((len(asked), int(codes.max()) + 1), np.int64)
    np.add.at(votes, (np.arange(len(asked))[:, None], codes[index]), 1)
    return float((votes.argmax(axis=1) == codes[asked]).mean())


def _epoch(history: History, step: int) -> int | None:
    """Epochs done by a step: each ends with a validation."""
    steps, _ = history.series("loss", "validation")
    return int(np.searchsorted(steps, step, side="right")) if len(steps) else None


def _stage(history: History, step: int) -> str:
    """The stage that the step was of; a mark stands at the last step of the stage before."""
    begun = [text for at, text in history.marks if text.startswith("stage ") and (at < step or at == 0)]
    return begun[-1].removeprefix("stage ") if begun else ""


def _values(history: History, step: int) -> tuple[tuple[str, str, float], ...]:
    values = []
    for name, split in history.names():
        steps, points = history.series(name, split)
        n = int(np.searchsorted(steps, step, side="right"))
        if n:
            last = points[max(n - MEAN_POINTS, 0) : n] if split == "train" else points[n - 1 : n]
            values.append((name, split, float(np.mean(last, dtype=np.float64))))
    return tuple(values)


def _packed(xy: Float[ndarray, "cell 2"]) -> tuple[ndarray, tuple[float, float, float, float]]:
    """Positions as u16 over their own bounds, as the map sends them."""
    bounds = bounds_of(xy)
    return quantised(xy, bounds), bounds
