"""The bytes sent to the browser (docs/protocol.md); twin of `js/src/frames.ts`.

A frame is a JSON header and little-endian buffers. Both sides test against `tests/golden`.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.session.selection import quantised
from livelatent.session.state import CellValues, Curves, FlagList, LatentMap, PrototypeView, Status, Topic

PROTOCOL = 1
U16_NONE = 65535
"""What "none" is in a Uint16 column: so 65,535 names at most; beyond them a name is shown as none."""


@dataclass(frozen=True)
class Frame:
    """A message's JSON content and its buffers."""

    content: dict[str, Any]
    buffers: list[bytes]


def encode(topic: Topic, seq: int) -> Frame:
    """One topic as a message."""
    buffers: list[bytes] = []
    match topic:
        case Status():
            header = _status(topic)
        case Curves():
            header, buffers = _curves(topic)
        case LatentMap():
            header, buffers = _map(topic)
        case PrototypeView():
            header, buffers = _prototypes(topic)
        case FlagList():
            header = _flags(topic)
        case CellValues():
            header, buffers = _values(topic)
    return Frame({"kind": KINDS[type(topic)], "seq": seq, **finite(header)}, buffers)


KINDS: dict[type, str] = {
    Status: "status",
    Curves: "curves",
    LatentMap: "map",
    PrototypeView: "prototypes",
    FlagList: "flags",
    CellValues: "values",
}


def encode_sync(topics: list[Topic], *, view: str, seq: int) -> Frame:
    """The whole state in one message: headers in the content, buffers one after another."""
    frames = [encode(topic, seq) for topic in topics]
    headers = [{**frame.content, "buffers": len(frame.buffers)} for frame in frames]
    content = {"kind": "sync", "proto": PROTOCOL, "view": view, "seq": seq, "frames": headers}
    return Frame(content, [buffer for frame in frames for buffer in frame.buffers])


def finite(value: Any) -> Any:
    """The same JSON value with NaN and infinity as null: browsers refuse them."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def _codes(codes: ndarray) -> bytes:
    """Codes as Uint16, with every code that does not fit as none."""
    fits = (codes >= 0) & (codes < U16_NONE)
    return np.where(fits, codes, U16_NONE).astype("<u2").tobytes()


def _status(status: Status) -> dict[str, Any]:
    return asdict(status)


def _curves(curves: Curves) -> tuple[dict[str, Any], list[bytes]]:
    series = []
    buffers = []
    for curve in curves.series:
        series.append(
            {"name": curve.name, "split": curve.split, "start": curve.start, "n": len(curve.steps)},
        )
        buffers += [curve.steps.astype("<u4").tobytes(), curve.values.astype("<f4").tobytes()]
    return {"series": series, "marks": [asdict(mark) for mark in curves.marks]}, buffers


def _map(latent_map: LatentMap) -> tuple[dict[str, Any], list[bytes]]:
    header = {
        "n": len(latent_map.cell),
        "n_total": latent_map.n_total,
        "n_query": int(latent_map.is_query.sum()),
        "bounds": latent_map.bounds,
        "panel": latent_map.panel,
        "layout": latent_map.layout,
        "moved": latent_map.moved,
        "age_s": latent_map.age_s,
        "label_names": latent_map.label_names,
        "predicted_names": latent_map.predicted_names,
        "batch_names": latent_map.batch_names,
        "given_names": latent_map.given_names,
    }
    return header, [
        quantised(latent_map.xy, latent_map.bounds).tobytes(),
        latent_map.cell.astype("<u4").tobytes(),
        _codes(latent_map.label),
        _codes(latent_map.predicted),
        _codes(latent_map.batch),
        latent_map.p_value.astype("<f4").tobytes(),
        latent_map.flag.astype("<u2").tobytes(),
        latent_map.is_query.astype("u1").tobytes(),
        _codes(latent_map.given),
    ]


def _prototypes(view: PrototypeView) -> tuple[dict[str, Any], list[bytes]]:
    header = {
        "names": view.names,
        "counts": view.counts,
        "radii": view.radii,
        "n_dims": view.centroid.shape[1],
        "drift": view.drift,
        "order": view.order,
        "medoids": view.medoids,
    }
    return header, [view.distance.astype("<f4").tobytes(), view.centroid.astype("<f4").tobytes()]


def _values(held: CellValues) -> tuple[dict[str, Any], list[bytes]]:
    header = {
        "by": held.by,
        "name": held.name,
        "state": held.state,
        "message": held.message,
        "number": held.number,
        "panel": held.panel,
        "n": len(held.values),
        "unit": held.unit,
        "names": held.names,
    }
    return header, [held.values.astype("<f4").tobytes() if held.names is None else _codes(held.values)]


def _flags(flags: FlagList) -> dict[str, Any]:
    return {
        "target_fpr": flags.target_fpr,
        "n_scored": flags.n_scored,
        "n_flagged": flags.n_flagged,
        "calibration": flags.calibration,
        "curve": {"target_fpr": flags.curve_target_fpr, "n_flagged": flags.curve_n_flagged},
        "flags": [{**asdict(flag), "n_batches": len(flag.batches)} for flag in flags.flags],
    }
