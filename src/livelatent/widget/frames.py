"""The bytes sent to the browser (docs/protocol.md); twin of `js/src/frames.ts`.

A frame is a JSON header and little-endian buffers. Both sides test against `tests/golden`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.session.selection import quantised
from livelatent.session.state import CellValues, Curves, FlagList, LatentMap, Moments, PrototypeView, Status, Topic

PROTOCOL = 2
U16_NONE = 65535
"""What "none" is in a Uint16 column: so 65,535 names at most; beyond them a name is shown as none."""


@dataclass(frozen=True)
class Frame:
    """A message's JSON content and its buffers."""

    content: dict[str, Any]
    buffers: list[bytes]


def encode(topic: Topic, seq: int, held: LatentMap | None = None) -> Frame:
    """One topic as a message.

    Parameters
    ----------
    held
        The map that the browser holds: columns of the same cells that have not changed are left out.
    """
    buffers: list[bytes] = []
    match topic:
        case Status():
            header = _status(topic)
        case Curves():
            header, buffers = _curves(topic)
        case LatentMap():
            header, buffers = _map(topic, held)
        case PrototypeView():
            header, buffers = _prototypes(topic)
        case FlagList():
            header = _flags(topic)
        case Moments():
            header, buffers = _moments(topic)
        case CellValues():
            header, buffers = _values(topic)
    return Frame({"kind": KINDS[type(topic)], "seq": seq, **finite(header)}, buffers)


KINDS: dict[type, str] = {
    Status: "status",
    Curves: "curves",
    LatentMap: "map",
    PrototypeView: "prototypes",
    FlagList: "flags",
    Moments: "moments",
    CellValues: "values",
}


def encode_round(topics: list[Topic], seq: int, held: LatentMap | None = None, *, is_answered: bool = False) -> Frame:
    """Several topics as one message under one number; one alone as it is.

    Parameters
    ----------
    held
        As for `encode`.
    is_answered
        Whether the page is asked to say when it is painted.
    """
    frames = [encode(topic, seq, held) for topic in topics]
    frame = frames[0] if len(frames) == 1 else _joined({"kind": "frames", "seq": seq}, frames)
    return Frame({**frame.content, "ack": True}, frame.buffers) if is_answered else frame


def encode_sync(topics: list[Topic], *, view: str, seq: int) -> Frame:
    """The whole state in one message."""
    content = {"kind": "sync", "proto": PROTOCOL, "view": view, "seq": seq}
    return _joined(content, [encode(topic, seq) for topic in topics])


def _joined(content: dict[str, Any], frames: list[Frame]) -> Frame:
    """Headers in the content, buffers one after another."""
    headers = [{**frame.content, "buffers": len(frame.buffers)} for frame in frames]
    return Frame({**content, "frames": headers}, [buffer for frame in frames for buffer in frame.buffers])


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
    marks = [{"step": mark.step, "text": mark.text} for mark in curves.marks]
    return {
        "series": series,
        "marks": marks,
        **({"marks_start": curves.marks_start} if curves.marks_start else {}),
    }, buffers


MAP_COLUMNS: dict[str, Callable[[LatentMap], bytes]] = {
    "xy": lambda shown: quantised(shown.xy, shown.bounds).tobytes(),
    "cell": lambda shown: shown.cell.astype("<u4").tobytes(),
    "label": lambda shown: _codes(shown.label),
    "predicted": lambda shown: _codes(shown.predicted),
    "batch": lambda shown: _codes(shown.batch),
    "p_value": lambda shown: shown.p_value.astype("<f4").tobytes(),
    "flag": lambda shown: shown.flag.astype("<u2").tobytes(),
    "is_query": lambda shown: shown.is_query.astype("u1").tobytes(),
    "given": lambda shown: _codes(shown.given),
}
"""A map's buffers in their order, each one value per cell (positions: two)."""


def _map(latent_map: LatentMap, held: LatentMap | None) -> tuple[dict[str, Any], list[bytes]]:
    kept = _kept(latent_map, held)
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
        **({"label_colours": latent_map.label_colours} if latent_map.label_colours else {}),
        **({"batch_colours": latent_map.batch_colours} if latent_map.batch_colours else {}),
        **({"kept": kept} if kept else {}),
    }
    return header, [column(latent_map) for name, column in MAP_COLUMNS.items() if name not in kept]


def _kept(latent_map: LatentMap, held: LatentMap | None) -> list[str]:
    """Columns that a browser need not be sent again: of a million cells all take 23 MB, positions alone 4."""
    if held is None or held.panel != latent_map.panel or len(held.cell) != len(latent_map.cell):
        return []
    pairs = {name: (getattr(held, name), getattr(latent_map, name)) for name in MAP_COLUMNS}
    return [name for name, (old, new) in pairs.items() if old is new or np.array_equal(old, new, equal_nan=True)]


def _prototypes(view: PrototypeView) -> tuple[dict[str, Any], list[bytes]]:
    header = {
        "names": view.names,
        "counts": view.counts,
        "radii": view.radii,
        "n_dims": view.centroid.shape[1],
        "drift": view.drift,
        "order": view.order,
        "medoids": view.medoids,
        "drifts": view.drifts,
        "since": view.since,
        "spreads": view.spreads,
        "n_left_out": view.n_left_out,
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
        **({"colours": held.colours} if held.colours else {}),
    }
    return header, [held.values.astype("<f4").tobytes() if held.names is None else _codes(held.values)]


def _flags(flags: FlagList) -> dict[str, Any]:
    return {
        "target_fpr": flags.target_fpr,
        "n_scored": flags.n_scored,
        "n_flagged": flags.n_flagged,
        "calibration": flags.calibration,
        "warnings": flags.warnings,
        "is_computing": flags.is_computing,
        "curve": {
            "target_fpr": flags.curve_target_fpr,
            "n_flagged": flags.curve_n_flagged,
            "by_chance": flags.curve_by_chance or None,
            "precision": flags.curve_precision or None,
            "coverage": flags.curve_coverage or None,
            "of": flags.curve_of,
        },
        "flags": [{**asdict(flag), "n_batches": flag.n_batches or len(flag.batches)} for flag in flags.flags],
    }


def _moments(album: Moments) -> tuple[dict[str, Any], list[bytes]]:
    facts = ("id", "step", "epoch", "stage", "kept_at", "layout", "values", "knn_accuracy", "bounds")
    headers = [{**{name: getattr(one, name) for name in facts}, "n": len(one.cell)} for one in album.moments]
    buffers = []
    for one in album.moments:
        buffers += [
            one.xy.astype("<u2").tobytes(),
            one.cell.astype("<u4").tobytes(),
            one.is_query.astype("u1").tobytes(),
        ]
    return {"most": album.most, "moments": headers}, buffers
