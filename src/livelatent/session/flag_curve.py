"""What another threshold would flag, and how much of that is right as far as labels tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

__all__ = ["HIGHEST", "FlagCurve", "flag_curve"]

LOWEST, HIGHEST, STEPS = 0.001, 0.25, 48
"""Targets in even steps of their logarithm: `judge` takes none above."""
MIN_CELLS = 10
"""Fewer cells of known types, or of new ones, give no share worth drawing."""


@runtime_checkable
class _Scored(Protocol):
    """What is read of `judge`'s Novelty; of others than its own the types it knows and its method may be missing."""

    @property
    def rows(self) -> Any: ...
    @property
    def p_value(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class FlagCurve:
    """One value per target; what can't be told is empty."""

    target_fpr: tuple[float, ...] = ()
    n_flagged: tuple[int, ...] = ()
    by_chance: tuple[float, ...] = ()
    """How many would be flagged if no cell were new."""
    precision: tuple[float | None, ...] = ()
    """Share of new ones among flagged cells whose type is known by a label; None where none is flagged."""
    coverage: tuple[float | None, ...] = ()
    """Share of labelled new cells that is flagged."""
    of: str = ""
    """In words: which cells precision and coverage are of, or why there are none."""


def flag_curve(novelties: Sequence[_Scored | None], labels: Sequence[ndarray], target_fpr: float) -> FlagCurve:
    """The curve over all places' scored cells.

    Parameters
    ----------
    labels
        Of every cell of each place: given by hand, else its column's; None for none.
    target_fpr
        The threshold in force: one of the curve's, too.

    Notes
    -----
    A labelled cell counts as new where the model knows no type of that name. Cells named by hand are mostly those that
    were flagged, so coverage is too high by what nobody has named; the words say which cells were counted.
    """
    scored = [
        (np.asarray(novelty.p_value), labels[place][np.asarray(novelty.rows)], novelty)
        for place, novelty in enumerate(novelties)
        if novelty is not None
    ]
    if not scored:
        return FlagCurve()
    steps = np.geomspace(LOWEST, HIGHEST, STEPS)
    targets = np.unique([*(float(f"{step:.2g}") for step in steps), target_fpr])
    p_value = np.concatenate([p for p, _, _ in scored])
    n_flagged = _at_most(p_value, targets)
    is_conformal = all(getattr(novelty, "method", "") != "thesis" for _, _, novelty in scored)
    curve = FlagCurve(
        target_fpr=tuple(map(float, targets)),
        n_flagged=tuple(map(int, n_flagged)),
        by_chance=tuple(map(float, targets * len(p_value))) if is_conformal else (),
    )
    is_new = np.concatenate([_is_new(label, novelty) for _, label, novelty in scored])
    n_new, n_known = int((is_new == 1).sum()), int((is_new == 0).sum())
    if min(n_new, n_known) < MIN_CELLS:
        why = "no scored cell bears the name of a new type" if not n_new else f"{n_new} scored cells are of a new type"
        if n_new >= MIN_CELLS:
            why = f"{n_known} scored cells are of a known type"
        return replace(curve, of=f"Precision is not known: {why}; at least {MIN_CELLS} must be labelled.")
    n_true, n_false = _at_most(p_value[is_new == 1], targets), _at_most(p_value[is_new == 0], targets)
    return replace(
        curve,
        precision=tuple(float(t / (t + f)) if t + f else None for t, f in zip(n_true, n_false, strict=True)),
        coverage=tuple(float(t / n_new) for t in n_true),
        of=f"Precision and coverage are of {n_known + n_new:,} labelled cells, {n_new:,} of them of new types.",
    )


def _at_most(p_value: ndarray, targets: ndarray) -> ndarray:
    return np.searchsorted(np.sort(p_value), targets, side="right")


def _is_new(label: ndarray, novelty: _Scored) -> ndarray:
    """1 where a cell's label names no type of the model, 0 where it does, -1 without a label."""
    import pandas as pd

    names = pd.Series(label, dtype=object)
    known = names.isin(list(getattr(novelty, "known_types", ())))
    return np.where(names.isna(), -1, np.where(known, 0, 1))
