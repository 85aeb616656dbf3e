"""The most memory that a stream takes, beside the `memory=` it was given."""

import importlib
import time
from itertools import product
from pathlib import Path
from typing import Any

from ingest import memory_of

from streaming.atlases import Bench
from streaming.ours import TYPES
from streaming.process import measured, peak_above_now

LIMITS = {"256MB": 256 * 10**6, "1GB": 10**9, "4GB": 4 * 10**9}
MOST_SECONDS = 30.0
IMPORTS = ("livelatent.stream.stream", "dask", "zarr", "zarrs", "numba", "torch")


def figures(bench: Bench) -> dict[str, Any]:
    """The largest of all: atlas, limit, natural or balanced, dense or CSR."""
    runs = []
    seconds = 5.0 if bench.is_quick else MOST_SECONDS
    for name, atlas in bench.atlases.items():
        store, tiny = bench.files(atlas).ours, bench.tiny(atlas)
        for memory, is_balanced, is_sparse in product(LIMITS, (False, True), (False, True)):
            asked = {"memory": memory, "is_balanced": is_balanced, "is_sparse": is_sparse}
            answer = measured("peak", store=store, tiny=tiny, most_seconds=seconds, **asked)
            runs.append({"atlas": name} | asked | answer)
    over = [run["over_limit"] for run in runs if "over_limit" in run]
    return {
        "memory_over_limit": max(over, default=None),
        "memory": {"refused": sum("refused" in run for run in runs), "runs": runs},
    }


def peak(store: str, tiny: str, memory: str, is_balanced: bool, is_sparse: bool, most_seconds: float) -> dict[str, Any]:
    """Peak of two epochs, from opening the atlas on, above what is held after the same on a tiny store."""
    from livelatent.errors import LivelatentError

    for name in IMPORTS:
        importlib.import_module(name)
    imports = memory_of("VmRSS")
    try:
        deliver(tiny, memory, is_balanced, is_sparse, most_seconds)
        with peak_above_now() as found:
            n_cells, config = deliver(store, memory, is_balanced, is_sparse, most_seconds)
    except LivelatentError as error:
        # Below what can work: an honest answer, and none that says anything about a peak.
        return {"refused": str(error)}
    return {
        "over_limit": round(found["peak_bytes"] / LIMITS[memory], 4),
        "peak_mb": round(found["peak_bytes"] / 1e6, 1),
        "warm_up_mb": round((found["before_bytes"] - imports) / 1e6, 1),
        "cells": n_cells,
        "config": config,
    }


def deliver(path: str, memory: str, is_balanced: bool, is_sparse: bool, most_seconds: float) -> tuple[int, str]:
    """Two epochs, or what there is time for: number of cells, and the configuration that `memory=` came to."""
    import livelatent as ll
    from livelatent.stream.balance import Balance
    from livelatent.stream.plan import StreamConfig
    from livelatent.stream.stream import Stream

    config = StreamConfig(balance=Balance(types=TYPES) if is_balanced else None)
    values = "counts" if is_sparse else "log1p"
    ends = time.monotonic() + most_seconds
    n_cells = 0
    with Stream(ll.Atlas.open(Path(path)), None, config, memory=memory, values=values, sparse=is_sparse) as stream:
        for epoch in range(2):
            for minibatch in stream.minibatches(epoch):
                n_cells += minibatch.n_cells
                if time.monotonic() > ends:
                    return n_cells, repr(stream.config)
        return n_cells, repr(stream.config)
