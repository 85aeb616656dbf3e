"""A training on more cells than a map shows, measured from inside the kernel: when does each layout come?"""

import asyncio
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import livelatent as ll
from showing.trials import ENOUGH_EPOCHS

PANEL_CELLS = 20_000
N_CELLS, N_GENES = 60_000, 2_000
LOOK_EVERY_S = 0.1


class LayoutTimes:
    """`view` is to be shown before it is watched."""

    def __init__(self) -> None:
        store = Path(mkdtemp(prefix="livelatent-layouts-")) / "large.zarr"
        atlas = ll.simulate(store, N_CELLS, N_GENES, n_types=20, hidden=[3], unlabelled=0.1, progress=False)
        assert isinstance(atlas, ll.Atlas)
        self.run = ll.Run(ll.Cellular(atlas, patience=ENOUGH_EPOCHS), atlas, epochs=ENOUGH_EPOCHS)
        self.view = ll.LiveView(self.run, panel_cells=PANEL_CELLS)
        self.view.session.settle(timeout_s=240)

    async def watch(self, seconds: float) -> dict[str, Any]:
        """Seconds from layout to layout while it trains, the first counted from the first step; and what they took."""
        session: Any = self.view.session
        self.run.start()
        while self.run.status.step < 1:
            await asyncio.sleep(LOOK_EVERY_S)
        began = last = time.monotonic()
        number = self._number()
        spent, layout = session.spent_s, session.lookout.worker.cpu_s
        gaps: list[float] = []
        while time.monotonic() - began < seconds:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._number() != number:
                now = time.monotonic()
                number = self._number()
                gaps.append(now - last)
                last = now
        took = time.monotonic() - began
        told = {
            "cells": len(session.sight.look.panel),
            "gaps_s": [round(gap, 1) for gap in [*gaps, time.monotonic() - last]],
            "layout_share_of_a_core": round((session.lookout.worker.cpu_s - layout) / took, 3),
            "share_of_a_core": round((session.spent_s - spent) / took, 3),
            "epochs_trained": self.run.status.epoch,
        }
        self.run.stop()
        self.view.close()
        return told

    def _number(self) -> int:
        look = self.view.session.sight.look
        return 0 if look is None else look.layout.number
