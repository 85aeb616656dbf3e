"""The rule of selections against a simpler one: points asked one by one, sets of plain integers."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from livelatent.session.selection import bounds_of, combined, in_polygon, quantised, seen_positions, table_gate

GOLDEN = Path(__file__).parents[1] / "golden" / "select.json"


def crossings(x, y, polygon):
    """Even-odd in exact arithmetic: rays to the right, one edge at a time."""
    inside = False
    corners = [(Fraction(a), Fraction(b)) for a, b in polygon]
    x, y = Fraction(float(x)), Fraction(float(y))
    for (xi, yi), (xj, yj) in zip(corners, corners[-1:] + corners[:-1], strict=True):
        if (yi > y) != (yj > y) and x < (xj - xi) * (y - yi) / (yj - yi) + xi:
            inside = not inside
    return inside


@pytest.mark.parametrize("n_corners", [3, 4, 9])
def test_points_inside_a_polygon_that_crosses_itself(n_corners):
    random = np.random.default_rng(n_corners)
    xy = random.uniform(-3, 3, (400, 2)).astype(np.float32)
    polygon = random.uniform(-3, 3, (n_corners, 2)).round(2).tolist()
    want = [crossings(x, y, polygon) for x, y in xy]
    assert 0 < sum(want) < 400
    assert in_polygon(xy, polygon).tolist() == want


def test_a_polygon_without_corners_holds_nothing():
    assert not in_polygon(np.zeros((3, 2), np.float32), []).any()


def test_what_the_page_sees_is_within_half_a_step_of_where_cells_lie():
    xy = np.random.default_rng(1).normal(0, [5, 0.01], (300, 2)).astype(np.float32)
    bounds = bounds_of(xy)
    seen = seen_positions(xy, bounds)
    step = np.array([bounds[1] - bounds[0], bounds[3] - bounds[2]]) / 65535
    assert (np.abs(seen - xy) <= 0.51 * step + 1e-6).all()
    assert quantised(xy, bounds).min() == 0 and quantised(xy, bounds).max() == 65535


def test_parts_are_taken_in_order_as_sets_of_each_place():
    members = {
        "a": (np.array([1, 2, 3, 90]), np.array([5])),
        "b": (np.array([3, 4]), np.array([6, 7])),
        "c": (np.array([2, 4]), np.array([5])),
    }
    everything = (np.arange(10), np.arange(4, 9))
    parts = [{"mode": mode, "kind": kind} for mode, kind in [("add", "a"), ("add", "b"), ("subtract", "c")]]
    got = combined(parts, lambda part: members[part["kind"]], lambda: everything)
    assert [rows.tolist() for rows in got] == [[1, 3], [6, 7]]
    inverted = combined([*parts, {"mode": "invert"}], lambda part: members[part["kind"]], lambda: everything)
    assert [rows.tolist() for rows in inverted] == [[0, 2, 4, 5, 6, 7, 8, 9], [4, 5, 8]]
    again = combined([*parts, {"mode": "replace", "kind": "c"}], lambda p: members[p["kind"]], lambda: everything)
    assert [rows.tolist() for rows in again] == [[2, 4], [5]]


def test_a_gate_compares_doubles_and_lets_no_nan_pass():
    values = np.array([0.1, 0.2, np.nan, 0.3], np.float32)
    # float32(0.1) is above 0.1, float32(0.3) too, float32(0.2) too: rounding the threshold would hide it.
    assert table_gate(values, "<=", 0.1).tolist() == [False] * 4
    assert table_gate(values, "<=", float(np.float32(0.2))).tolist() == [True, True, False, False]
    assert table_gate(values, ">=", 0.3).tolist() == [False, False, False, True]


def test_the_golden_selections_are_what_python_makes_of_them():
    golden = json.loads(GOLDEN.read_text())
    xy = np.array(golden["xy"], np.float32)
    for case in golden["lassos"]:
        got = in_polygon(seen_positions(xy, bounds_of(xy)), case["polygon"])
        assert np.flatnonzero(got).tolist() == case["inside"]
    for case in golden["gates"]:
        values = np.array([np.nan if v is None else v for v in golden["values"]], np.float32)
        assert np.flatnonzero(table_gate(values, case["op"], case["threshold"])).tolist() == case["inside"]
