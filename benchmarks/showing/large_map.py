"""A map of any size through the real Publisher, for a notebook: `show(1_000_000)`. It runs in the kernel."""

import time
from collections.abc import Mapping
from typing import Any

import anywidget
import numpy as np

from livelatent.session.commands import Answer
from livelatent.session.state import (
    Curves,
    FlagList,
    FlagView,
    LatentMap,
    PrototypeView,
    Status,
    Topic,
)
from livelatent.widget.publisher import Publisher
from livelatent.widget.view import LiveView

N_TYPES = 30
N_FLAGS = 3
FLAGGED_SHARE = 0.005


class LargeMap:
    """A source whose map moves to another layout whenever it is asked, while `is_streaming`."""

    def __init__(self, n_cells: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        centre = random.normal(scale=4, size=(N_TYPES, 2))
        label = random.choice(N_TYPES, n_cells, p=random.dirichlet(np.full(N_TYPES, 2.0)))
        is_flagged = random.random(n_cells) < FLAGGED_SHARE
        where = centre[label] + random.normal(scale=0.6, size=(n_cells, 2))
        where[is_flagged] = 9 + random.normal(scale=0.3, size=(int(is_flagged.sum()), 2))
        self.layouts = [np.asarray(where + random.normal(scale=0.05, size=where.shape), np.float32) for _ in range(2)]
        self.flag = np.where(is_flagged, random.integers(1, N_FLAGS + 1, n_cells), 0)
        self.label, self.names = label, tuple(f"type {code}" for code in range(N_TYPES))
        self.predicted = np.where(random.random(n_cells) < 0.96, label, random.integers(0, N_TYPES, n_cells))
        self.batch = random.integers(0, 8, n_cells)
        self.p_value = np.where(is_flagged, 0.001, random.random(n_cells)).astype(np.float32)
        self.cell, self.none = np.arange(n_cells), np.full(n_cells, -1)
        self.is_query = np.zeros(n_cells, np.int64)
        self.layout = 1
        self.is_streaming = False

    def versions(self) -> dict[str, int]:
        """Only the map ever changes."""
        self.layout += self.is_streaming
        return {"status": 1, "curves": 1, "map": self.layout, "prototypes": 1, "flags": 1}

    def topic(self, name: str, since: Mapping[tuple[str, str], int] | None = None) -> Topic:
        """Everything but map, status and flags is empty."""
        n_cells = len(self.cell)
        match name:
            case "status":
                return Status(state="training", store="large.zarr", n_cells=n_cells)
            case "map":
                return LatentMap(
                    panel=1,
                    layout=self.layout,
                    moved=0.03,
                    age_s=0.0,
                    n_total=n_cells,
                    xy=self.layouts[self.layout % 2],
                    cell=self.cell,
                    is_query=self.is_query,
                    label=self.label,
                    predicted=self.predicted,
                    batch=self.batch,
                    given=self.none,
                    p_value=self.p_value,
                    flag=self.flag,
                    label_names=self.names,
                    predicted_names=self.names,
                    batch_names=tuple(f"donor {number}" for number in range(8)),
                )
            case "flags":
                return FlagList(flags=tuple(self._card(number) for number in range(1, N_FLAGS + 1)))
            case "prototypes":
                return PrototypeView()
        return Curves()

    def _card(self, number: int) -> FlagView:
        n_cells = int((self.flag == number).sum())
        return FlagView(
            id=number, atlas="large.zarr", n_cells=n_cells, p_value=0.001, batches=(), nearest=(), higher=(),
            lower=(), reason="far from every type",
        )  # fmt: skip

    def answer(self, rid: object, name: object, args: object) -> Answer:
        """There is nothing to ask for."""
        return Answer(rid=str(rid), ok=True, result={})

    def lane(self, name: object) -> str:
        """One for all."""
        return "quick"


class LargeView(anywidget.AnyWidget):  # type: ignore[misc]
    """The bundle of `LiveView` on a `LargeMap`; `frames` says when each map left and when its paint was told."""

    _esm = LiveView._esm
    _css = LiveView._css

    def __init__(self, n_cells: int) -> None:
        super().__init__()
        self.source = LargeMap(n_cells)
        self.frames: dict[int, list[float]] = {}
        self.n_bytes = 0
        self.publisher = Publisher(self._to_browsers, self.source)
        self.on_msg(self._heard)
        self.publisher.start()

    def _to_browsers(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if any(frame["kind"] == "map" for frame in content.get("frames", [content])):
            self.frames[content["seq"]] = [time.monotonic()]
            self.n_bytes = sum(map(len, buffers))
        self.send(content, buffers)

    def _heard(self, _widget: object, content: Any, _buffers: object) -> None:
        if content.get("kind") == "ack" and content["seq"] in self.frames:
            self.frames[content["seq"]].append(time.monotonic())
        self.publisher.handle(content)


def show(n_cells: int) -> LargeView:
    """A view to be the last line of a cell."""
    return LargeView(n_cells)
