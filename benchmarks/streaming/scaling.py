"""What an epoch costs as the atlas grows."""

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from streaming.atlases import Bench
from streaming.ours import opened, our_stream
from streaming.process import measured, taking

GENES = 2_000
LEAST_SECONDS = 1.0


def figures(bench: Bench) -> dict[str, Any]:
    """Slope of log seconds on log cells: the larger of wall and CPU."""
    sizes = (3_000, 10_000, 30_000, 100_000) if bench.is_quick else (10_000, 30_000, 100_000, 300_000, 1_000_000)
    stores = {size: bench.store(size, GENES) for size in sizes}
    runs = [
        {"round": number, "cells": size} | measured("epoch", store=store)
        for number in range(bench.rounds)
        for size, store in stores.items()
    ]
    medians = {
        what: {size: median(run[what] for run in runs if run["cells"] == size) for size in sizes}
        for what in ("wall_s", "cpu_s")
    }
    slopes = {
        what: round(float(np.polyfit(np.log(sizes), np.log(list(seconds.values())), 1)[0]), 3)
        for what, seconds in medians.items()
    }
    return {
        "scaling_exponent": max(slopes.values()),
        "scaling": {"exponents": slopes, "medians": medians, "runs": runs},
    }


def epoch(store: str) -> dict[str, Any]:
    """Seconds of a new stream's first epoch, the mean of as many as a second holds; the atlas stays open.

    A new stream each time: one that holds all cells in its buffer keeps them for the next epoch.
    """
    atlas = opened(Path(store))
    with our_stream(atlas) as stream:
        for _ in stream.minibatches(0):
            pass
    done = 0
    spent = {"wall_s": 0.0, "cpu_s": 0.0}
    while spent["wall_s"] < LEAST_SECONDS:
        with taking() as took, our_stream(atlas) as stream:
            for _ in stream.minibatches(0):
                pass
        done += 1
        spent = {what: seconds + took[what] for what, seconds in spent.items()}
    return {what: seconds / done for what, seconds in spent.items()} | {"epochs": done}
