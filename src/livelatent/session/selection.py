"""Which cells an ordered list of parts selects: the one rule by which a selection is made, counted and replayed.

A part is a plain dictionary: `mode` (replace, add, subtract, invert), `kind` and what that kind takes. The page
applies the same rule to the cells that it shows (`js/src/selection.ts`); both test against `tests/golden/select.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Bool, Float, Int, UInt

__all__ = [
    "Chosen",
    "bounds_of",
    "combined",
    "in_polygon",
    "members_of",
    "quantised",
    "seen_positions",
    "shown_cells",
    "table_gate",
]

Chosen = tuple[Int[ndarray, " _cell"], ...]
"""Sorted rows of each place: the run's atlas and, where there is one, the query. Places differ in length."""

Part = Mapping[str, Any]
Bounds = tuple[float, float, float, float]


def combined(parts: Sequence[Part], members: Callable[[Part], Chosen], universe: Callable[[], Chosen]) -> Chosen:
    """Go through the parts in order; what lies outside the universe is never chosen.

    Parameters
    ----------
    members
        The cells that a part by itself names.
    universe
        All cells that could be chosen: those shown, or those that QC keeps.
    """
    everything = universe()
    held: Chosen = tuple(np.zeros(0, np.int64) for _ in everything)
    for part in parts:
        if part["mode"] == "invert":
            held = tuple(np.setdiff1d(whole, some) for whole, some in zip(everything, held, strict=True))
            continue
        found = [np.intersect1d(one, whole) for one, whole in zip(members(part), everything, strict=True)]
        match part["mode"]:
            case "replace":
                held = tuple(found)
            case "add":
                held = tuple(np.union1d(some, one) for some, one in zip(held, found, strict=True))
            case "subtract":
                held = tuple(np.setdiff1d(some, one) for some, one in zip(held, found, strict=True))
    return held


def members_of(part: Part, seen: Mapping[str, ndarray], n_places: int) -> Chosen:
    """The cells that a part by itself names, from what it refers to.

    Parameters
    ----------
    seen
        Of a lasso or box, the layout: `cell`, `is_query`, `xy`. Of a flag, `row_K` and `flag_K` for each place K. Of
        a gate, `row_K` and `value_K`. Of a prototype's own cells, `row_K`; of those nearest to it, `cell`,
        `is_query`, `distance`.
    """
    if part["kind"] in ("lasso", "box"):
        positions = seen_positions(seen["xy"], bounds_of(seen["xy"]))
        inside = in_polygon(positions, part["polygon"])
        return shown_cells(seen["cell"][inside], seen["is_query"][inside], n_places)
    if part["kind"] == "prototype_nearest":
        nearest = np.argsort(seen["distance"], kind="stable")[: part["n"]]
        return shown_cells(seen["cell"][nearest], seen["is_query"][nearest], n_places)
    found = []
    for place in range(n_places):
        rows = seen.get(f"row_{place}", np.zeros(0, np.int64))
        passes: Bool[ndarray, " cell"]
        if part["kind"] == "prototype_cells":
            passes = np.ones(len(rows), bool)
        elif part["kind"] == "flag":
            passes = seen.get(f"flag_{place}", np.zeros(0)) == part["flag"]
        else:
            passes = table_gate(seen.get(f"value_{place}", np.zeros(0)), part["op"], part["threshold"])
        found.append(np.unique(rows[passes]).astype(np.int64))
    return tuple(found)


def shown_cells(
    cell: Int[ndarray, " cell"], is_query: Int[ndarray, " cell"] | UInt[ndarray, " cell"], n_places: int
) -> Chosen:
    """Rows of each place from the panel's way of naming cells."""
    return tuple(np.unique(cell[is_query == place]).astype(np.int64) for place in range(n_places))


def table_gate(values: Float[ndarray, " cell"], op: str, threshold: float | int) -> Bool[ndarray, " cell"]:
    """Which values pass; NaN never does. Compared as doubles, as the page does: float32 would round the threshold."""
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return wide >= threshold if op == ">=" else wide <= threshold


def bounds_of(xy: Float[ndarray, "cell 2"]) -> Bounds:
    """x0, x1, y0, y1 of the cells: never of zero width."""
    if not len(xy):
        return (0.0, 1.0, 0.0, 1.0)
    # Column by column: over both at once a million cells take 22 ms, so 2.
    ends = []
    for column in xy.T:
        low, high = float(column.min()), float(column.max())
        ends += [low, high] if high > low else [low - 0.5, high + 0.5]
    return (ends[0], ends[1], ends[2], ends[3])


def quantised(xy: Float[ndarray, "cell 2"], bounds: Bounds) -> UInt[ndarray, "cell 2"]:
    """Positions as u16 over the bounds: 1/100 of a pixel on a map of 640 pixels."""
    result = np.empty(xy.shape, "<u2")
    # Axis by axis and in place: a million cells take 20 ms, as one expression 45.
    for axis, (low, high) in enumerate((bounds[:2], bounds[2:])):
        scaled = np.subtract(xy[:, axis], low, dtype=np.float64)
        scaled /= high - low
        scaled *= 65535
        np.rint(scaled, out=scaled)
        np.clip(scaled, 0, 65535, out=scaled)
        result[:, axis] = scaled
    return result


def seen_positions(xy: Float[ndarray, "cell 2"], bounds: Bounds) -> Float[ndarray, "cell 2"]:
    """Where the page has the cells: sent as u16, put back in double arithmetic, kept as float32."""
    low = np.array(bounds[0::2])
    step = (np.array(bounds[1::2]) - low) / 65535
    return np.asarray(low + quantised(xy, bounds).astype(np.float64) * step, np.float32)


def in_polygon(xy: Float[ndarray, "cell 2"], polygon: Sequence[Sequence[float | int]]) -> Bool[ndarray, " cell"]:
    """Which points lie inside, by the even-odd rule; the same doubles in the same order as `js/src/geometry.ts`."""
    corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    result = np.zeros(len(xy), bool)
    if not len(corners):
        return result
    low, high = corners.min(axis=0), corners.max(axis=0)
    wide = xy.astype(np.float64)
    near = np.flatnonzero(((wide >= low) & (wide <= high)).all(axis=1))
    x, y = wide[near, 0], wide[near, 1]
    inside = np.zeros(len(near), bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        for (xi, yi), (xj, yj) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            crosses = ((yi > y) != (yj > y)) & (x < ((xj - xi) * (y - yi)) / (yj - yi) + xi)
            inside ^= crosses
    result[near] = inside
    return result
