"""Write the golden files that both test suites read: `python tests/golden/make.py`.

NAME.json holds `content` (the message), `lengths` (bytes per buffer) and `expect` (decoded facts; NaN as
null), NAME.bin the buffers one after another. Values are exact in float32, names are hostile.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from livelatent.session.selection import quantised
from livelatent.session.state import (
    Can,
    CellValues,
    Curve,
    Curves,
    FlagList,
    FlagView,
    LatentMap,
    Mark,
    Measure,
    Moment,
    Moments,
    PrototypeView,
    Settable,
    Status,
    StreamHealth,
    Topic,
)
from livelatent.widget.frames import Frame, encode, encode_sync

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "γδ T細胞 🧬",
)

STATUS = Status(
    state="training",
    message="epoch 3 of 50",
    store="blood.zarr",
    query="<b>patient</b>.zarr",
    stage="encoder",
    epoch=3,
    epochs=50,
    step=128,
    cells_per_s=20480.5,
    wait_share=float("nan"),
    n_cells=700,
    n_genes=765,
    can=Can(pause=True, stop=True),
    health=StreamHealth(
        cells_per_s=20480.5,
        wait_share=0.25,
        types=15.5,
        batches=3.0,
        lone_share=0.125,
        groups_ready=1.0,
        bytes_read=5_000_000_000,
        minibatch_cells=256,
    ),
    settable=Settable(
        stage="encoder",
        learning_rate=0.5,
        learning_rate_now=0.125,
        weights=(("prediction", 1.0, 1.0), (HOSTILE[1], 0.5, 0.25)),
        n_changes=3,
    ),
    alarms=(HOSTILE[0],),
    notes=("no batch column: the batch term is off",),
    journal="blood.labels",
    vocabulary=HOSTILE,
    n_saved=2,
    n_undo=1,
    n_redo=0,
    layout_share=0.25,
    layout_next_s=12.0,
    placing=0.5,
)

CURVES = Curves(
    series=(
        Curve(
            name="prediction",
            split="train",
            start=2,
            steps=np.array([20, 30, 40]),
            values=np.array([1.5, 1.25, np.nan], dtype=np.float32),
        ),
        Curve(
            name=HOSTILE[1],
            split="validation",
            start=0,
            steps=np.array([64]),
            values=np.array([0.75], dtype=np.float32),
        ),
        Curve(name="empty", split="train", start=0, steps=np.array([], int), values=np.array([], np.float32)),
    ),
    marks=(Mark(step=64, text="epoch 1"), Mark(step=70, text="stage </script>")),
)

MAP = LatentMap(
    panel=2,
    layout=7,
    moved=0.125,
    age_s=1.5,
    n_total=700,
    xy=np.array([[-2.0, 0.0], [2.0, 1.0], [0.0, 0.5], [-1.0, 0.25], [2.0, 0.0]], dtype=np.float32),
    cell=np.array([3, 70000, 5, 699, 0]),
    is_query=np.array([0, 0, 0, 1, 1]),
    label=np.array([0, 3, -1, -1, 1]),
    predicted=np.array([0, 1, 2, 2, 1]),
    batch=np.array([0, 0, 1, -1, 1]),
    given=np.array([-1, -1, 1, 0, -1]),
    p_value=np.array([np.nan, 0.5, 0.0625, 1.0, np.nan], dtype=np.float32),
    flag=np.array([0, 0, 1, 65534, 0]),
    label_names=HOSTILE,
    label_colours=("#1f77b4", None, "#00ff00", "#000000"),
    predicted_names=("B", "NK", "CD34+"),
    batch_names=("donor 1", HOSTILE[0]),
    given_names=("plasmablast?", HOSTILE[3]),
)

PROTOTYPES = PrototypeView(
    names=("B", HOSTILE[0], "flag 1"),
    counts=(120, 60, 9),
    radii=(0.5, 0.25, 0.125),
    medoids=("AAAC-1", HOSTILE[1], "GGGT-1"),
    order=(2, 0, 1),
    drift=float("nan"),
    drifts=(0.25, float("nan"), None),
    since="epoch 2, step 64",
    spreads=(0.25, 0.125, 0.0625),
    n_left_out=3,
    distance=np.array([[0.0, 4.5, 3.0], [4.5, 0.0, 6.25], [3.0, 6.25, 0.0]]),
    centroid=np.array([[0.5, -1.0, 0.25, 2.0], [1.5, 0.0, -0.25, -2.0], [0.0, 0.125, 8.0, -0.5]]),
)

FLAGS = FlagList(
    target_fpr=0.05,
    n_scored=140,
    n_flagged=21,
    calibration="70 calibration cells",
    curve_target_fpr=(0.01, 0.05, 0.1),
    curve_n_flagged=(4, 21, 30),
    curve_by_chance=(1.5, 7.0, 14.0),
    curve_precision=(None, 0.75, 0.5),
    curve_coverage=(0.0, 0.25, 0.5),
    curve_of="Precision and coverage are of 60 labelled cells.",
    warnings=(HOSTILE[0],),
    is_computing=True,
    flags=(
        FlagView(
            id=1,
            atlas="blood.zarr",
            n_cells=12,
            p_value=0.0078125,
            batches=(("donor 1", 10), (HOSTILE[0], 2)),
            nearest=(("B", 3.5), ("NK", 5.25)),
            higher=("CD79A", "<i>MS4A1</i>"),
            lower=("CD3E",),
            reason="12 cells lie 3.5 radii from B, the nearest type.",
            state="named",
            label=HOSTILE[1],
            saved_at="2026-11-20T14:00:00+00:00",
            measures=(
                Measure(name="depth", flag=2048.0, low=512.0, usual=1024.0, high=1536.0, overall=1000.0),
                Measure(name="doublet score", flag=float("nan"), low=0.0, usual=0.5, high=0.75, overall=0.25),
            ),
            phases=(("S", 0.25), ("G2M", 0.125), ("G1", 0.625)),
            technical=(HOSTILE[1],),
            accept=HOSTILE[1],
            suggested=HOSTILE,
            is_hand_made=True,
        ),
        FlagView(
            id=2,
            atlas="<b>patient</b>.zarr",
            n_cells=9,
            p_value=0.03125,
            batches=(),
            nearest=(),
            higher=(),
            lower=(),
            reason=HOSTILE[0],
        ),
    ),
)

MOMENTS = Moments(
    most=8,
    moments=(
        Moment(
            id=2,
            step=128,
            epoch=3,
            stage="encoder",
            kept_at="2026-11-20T14:00:00+00:00",
            layout=7,
            values=((HOSTILE[1], "train", 0.5), ("prediction", "validation", float("nan"))),
            knn_accuracy=0.875,
            bounds=(-2.0, 2.0, 0.0, 1.0),
            xy=np.array([[0, 65535], [32768, 1]], dtype=np.uint16),
            cell=np.array([70000, 3], dtype=np.uint32),
            is_query=np.array([1, 0], dtype=np.uint8),
        ),
        Moment(
            id=5,
            step=640,
            epoch=7,
            stage="</script>",
            kept_at="2026-11-20T14:10:00+00:00",
            layout=9,
            values=(),
            knn_accuracy=None,
            bounds=(0.0, 1.0, 0.0, 1.0),
            xy=np.array([[5, 6], [7, 8], [9, 10]], dtype=np.uint16),
            cell=np.array([1, 2, 3], dtype=np.uint32),
            is_query=np.array([0, 0, 0], dtype=np.uint8),
        ),
    ),
)


VALUES = CellValues(
    by="gene",
    name=HOSTILE[1],
    state="ready",
    number=3,
    panel=2,
    unit="log1p of counts",
    values=np.array([0.0, 1.5, np.nan, 0.25, 4.0], dtype=np.float32),
)

NAMED_VALUES = CellValues(
    by="obs",
    name="tissue",
    state="ready",
    number=4,
    panel=2,
    names=(HOSTILE[0], "spleen"),
    values=np.array([1, 0, -1, -1, 1]),
)


def _numbers(values: np.ndarray) -> list[Any]:
    return [None if value != value else value for value in values.tolist()]


def _u16(codes: np.ndarray) -> list[int]:
    return [65535 if code < 0 else int(code) for code in codes]


EXPECT: dict[str, tuple[Topic, dict[str, Any]]] = {
    "status": (
        STATUS,
        {"state": "training", "wait_share": None, "cells_per_s": 20480.5, "vocabulary": list(HOSTILE)},
    ),
    "curves": (
        CURVES,
        {
            "series": [
                {
                    "name": curve.name,
                    "split": curve.split,
                    "start": curve.start,
                    "steps": curve.steps.tolist(),
                    "values": _numbers(curve.values),
                }
                for curve in CURVES.series
            ],
        },
    ),
    "map": (
        MAP,
        {
            "n": 5,
            "bounds": [-2.0, 2.0, 0.0, 1.0],
            # u16 over the bounds, by hand: -2 is 0, 2 is 65535, the middle is 32767.5, rounded to even.
            "xy": [[0, 0], [65535, 65535], [32768, 32768], [16384, 16384], [65535, 0]],
            "cell": [3, 70000, 5, 699, 0],
            "label": [0, 3, 65535, 65535, 1],
            "predicted": [0, 1, 2, 2, 1],
            "batch": [0, 0, 1, 65535, 1],
            "p_value": [None, 0.5, 0.0625, 1.0, None],
            "flag": [0, 0, 1, 65534, 0],
            "is_query": [0, 0, 0, 1, 1],
            "given": [65535, 65535, 1, 0, 65535],
            "label_names": list(HOSTILE),
        },
    ),
    "prototypes": (
        PROTOTYPES,
        {
            "k": 3,
            "n_dims": 4,
            "drift": None,
            "drifts": [0.25, None, None],
            "spreads": [0.25, 0.125, 0.0625],
            "distance": PROTOTYPES.distance.tolist(),
            "centroid": PROTOTYPES.centroid.tolist(),
        },
    ),
    "flags": (
        FLAGS,
        {
            "ids": [1, 2],
            "states": ["named", "open"],
            "labels": [HOSTILE[1], None],
            "n_batches": [2, 0],
            "measured": [[2048.0, None], []],
            "accepted": [HOSTILE[1], None],
            "precision": [None, 0.75, 0.5],
        },
    ),
    "moments": (
        MOMENTS,
        {
            "ids": [2, 5],
            "xy": [[0, 65535, 32768, 1], [5, 6, 7, 8, 9, 10]],
            "cell": [[70000, 3], [1, 2, 3]],
            "is_query": [[1, 0], [0, 0, 0]],
            "knn_accuracy": [0.875, None],
        },
    ),
}


EXPECT["values"] = (
    VALUES,
    {"by": "gene", "name": HOSTILE[1], "number": 3, "names": None, "values": [0.0, 1.5, None, 0.25, 4.0]},
)


def golden() -> dict[str, tuple[Frame, dict[str, Any]]]:
    """Every golden message by name, with what its decoding must say."""
    made = {name: (encode(topic, 11), expect) for name, (topic, expect) in EXPECT.items()}
    codes = {"by": "obs", "names": list(NAMED_VALUES.names or ()), "values": [1, 0, 65535, 65535, 1]}
    made["named_values"] = (encode(NAMED_VALUES, 11), codes)
    sync = encode_sync([topic for topic, _ in EXPECT.values()], view="view-1", seq=12)
    expects = {"kinds": list(EXPECT), "frames": [expect for _, expect in EXPECT.values()]}
    return {**made, "sync": (sync, expects)}


def texts() -> dict[str, bytes]:
    """Every golden file's bytes by name."""
    files: dict[str, bytes] = {}
    for name, (frame, expect) in golden().items():
        lengths = [len(buffer) for buffer in frame.buffers]
        value = {"content": frame.content, "lengths": lengths, "expect": expect}
        files[f"{name}.json"] = (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
        files[f"{name}.bin"] = b"".join(frame.buffers)
    files["select.json"] = (json.dumps(selections(), allow_nan=False) + "\n").encode()
    return files


def selections() -> dict[str, Any]:
    """Positions, polygons and gates, and what they select: the page and Python must name the same cells."""
    from livelatent.session.selection import bounds_of, in_polygon, seen_positions, table_gate

    random = np.random.default_rng(5)
    xy = random.normal(0, [3, 1.5], (120, 2)).astype(np.float32)
    bounds = bounds_of(xy)
    seen = seen_positions(xy, bounds)
    lassos = []
    for n_corners in (3, 5, 12):
        polygon = random.uniform(-4, 4, (n_corners, 2)).tolist()
        lassos.append({"polygon": polygon, "inside": np.flatnonzero(in_polygon(seen, polygon)).tolist()})
    # A corner on a cell and an edge through two: nothing but the same arithmetic decides.
    corners = [seen[3].astype(float).tolist(), seen[8].astype(float).tolist(), [9.0, 9.0]]
    lassos.append({"polygon": corners, "inside": np.flatnonzero(in_polygon(seen, corners)).tolist()})
    values = np.round(random.gamma(1, 1, 40), 2).astype(np.float32)
    values[::7] = np.nan
    gates = []
    for op, threshold in ((">=", float(values[1])), ("<=", round(float(values[2]), 2)), (">=", 0.1), ("<=", 0.0)):
        inside = np.flatnonzero(table_gate(values, op, threshold)).tolist()
        gates.append({"op": op, "threshold": threshold, "inside": inside})
    return {
        "xy": xy.astype(float).tolist(),
        "bounds": bounds,
        "quantised": quantised(xy, bounds).tolist(),
        "lassos": lassos,
        "values": _numbers(values),
        "gates": gates,
    }


if __name__ == "__main__":
    for file_name, data in texts().items():
        (Path(__file__).parent / file_name).write_bytes(data)
