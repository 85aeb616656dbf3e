import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from livelatent.session.state import LatentMap
from livelatent.widget.frames import encode, finite, quantised

GOLDEN = Path(__file__).parent.parent / "golden"


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = _maker()


@pytest.mark.parametrize("name", sorted(MAKE.texts()))
def test_every_golden_file_is_what_python_encodes_today(name):
    assert MAKE.texts()[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", sorted(MAKE.golden()))
def test_a_message_is_json_that_browsers_accept_and_lengths_match(name):
    frame, _ = MAKE.golden()[name]
    json.dumps(frame.content, allow_nan=False)
    value = json.loads((GOLDEN / f"{name}.json").read_text())
    assert value["lengths"] == [len(buffer) for buffer in frame.buffers]
    assert sum(value["lengths"]) == (GOLDEN / f"{name}.bin").stat().st_size


def test_the_maps_expected_facts_are_what_its_bytes_say():
    value = json.loads((GOLDEN / "map.json").read_text())
    data = (GOLDEN / "map.bin").read_bytes()
    names = ["xy", "cell", "label", "predicted", "batch", "p_value", "flag", "is_query", "given"]
    dtypes = ["<u2", "<u4", "<u2", "<u2", "<u2", "<f4", "<u2", "u1", "<u2"]
    start = 0
    for name, dtype, length in zip(names, dtypes, value["lengths"], strict=True):
        got = np.frombuffer(data[start : start + length], dtype).tolist()
        start += length
        want = value["expect"][name]
        want = [x for row in want for x in row] if name == "xy" else want
        assert [None if x != x else x for x in got] == want, name


def test_quantised_positions_come_back_within_half_a_step():
    random = np.random.default_rng(3)
    xy = random.normal(size=(1000, 2)).astype(np.float32) * [3, 50]
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    bounds = (float(x0), float(x1), float(y0), float(y1))
    back = quantised(xy, bounds) / 65535 * [x1 - x0, y1 - y0] + [x0, y0]
    assert (np.abs(back - xy) <= np.array([x1 - x0, y1 - y0]) / 65535 / 2 + 1e-9).all()


@pytest.mark.parametrize("n", [0, 1])
def test_a_map_without_extent_still_has_bounds_of_some_width(n):
    codes = np.full(n, -1)
    empty = LatentMap(
        panel=1, layout=1, moved=None, age_s=0.0, n_total=n, xy=np.ones((n, 2), np.float32), cell=codes + 1,
        is_query=codes + 1, label=codes, predicted=codes, batch=codes, given=codes,
        p_value=np.full(n, np.nan), flag=codes + 1,
    )  # fmt: skip
    frame = encode(empty, 1)
    x0, x1, y0, y1 = frame.content["bounds"]
    assert x1 > x0 and y1 > y0
    assert len(frame.buffers[0]) == 4 * n


def test_codes_that_do_not_fit_into_16_bits_are_shown_as_none():
    one = np.array([0])
    latent_map = LatentMap(
        panel=1, layout=1, moved=None, age_s=0.0, n_total=1, xy=np.ones((1, 2)), cell=one, is_query=one,
        label=np.array([65535]), predicted=np.array([65534]), batch=one, given=one,
        p_value=np.ones(1), flag=one,
    )  # fmt: skip
    buffers = encode(latent_map, 1).buffers
    assert np.frombuffer(buffers[2], "<u2").tolist() == [65535]
    assert np.frombuffer(buffers[3], "<u2").tolist() == [65534]


def test_undefined_numbers_become_null_at_any_depth():
    value = {"a": [float("inf"), {"b": np.float32("nan")}], "c": (np.int64(3), 1.5)}
    assert finite(value) == {"a": [None, {"b": None}], "c": [3, 1.5]}
