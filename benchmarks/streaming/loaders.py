"""Cells per second of every loader, and of reading and decoding alone, interleaved over rounds."""

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from streaming.atlases import FULL, HVG, Bench
from streaming.decode import decoded_epochs
from streaming.ours import BLOCK, BUFFER, MINIBATCH, Epochs, our_epochs
from streaming.peers import annbatch_epochs, annbatch_epochs_of_counts, scdataset_epochs
from streaming.process import measured, taking

WARM_UP_BUFFERS, SETTLE_S = 2, 0.3

OURS, ON_THEIRS = "ours", "ours on annbatch's store"
BALANCED, LABELLED = "ours, balanced", "ours, cells with a label"
ANNBATCH, X_ONLY, ON_OURS = "annbatch", "annbatch, X only", "annbatch on our store"
DECODE = "read and decode alone"
SCDATASET = {
    "scDataset, block 16": (16, 0),
    "scDataset, block 512": (512, 0),
    "scDataset, block 512, 2 workers": (512, 2),
}
"""Name: block and worker processes."""
LOADERS = (OURS, ON_THEIRS, BALANCED, LABELLED, ANNBATCH, X_ONLY, ON_OURS, DECODE, *SCDATASET)
ON_ONE_CORE = (OURS, ON_THEIRS, ANNBATCH, X_ONLY, ON_OURS, DECODE)


def figures(bench: Bench) -> dict[str, Any]:
    """Ratios of medians; a figure that is asked of both atlases is the worse of the two."""
    files = {name: bench.files(atlas) for name, atlas in bench.atlases.items()}
    asks = [
        (name, who, one_core)
        for name in files
        for who in LOADERS
        for one_core in (False, True)
        if (not one_core or (who in ON_ONE_CORE and "one core" not in bench.skipped))
        and not (who in SCDATASET and "scDataset" in bench.skipped)
    ]
    runs = []
    for number in range(bench.rounds):
        for at in np.random.default_rng(number).permutation(len(asks)):
            name, who, one_core = asks[at]
            answer = measured("load", who=who, one_core=one_core, **files[name]._asdict())
            runs.append({"round": number, "atlas": name, "who": who, "one_core": one_core} | answer)

    def middle(what: str, name: str, who: str, one_core: bool) -> float:
        return median(run[what] for run in runs if (run["atlas"], run["who"], run["one_core"]) == (name, who, one_core))

    def over(ours: str, theirs: str, one_core: bool = False) -> dict[str, float]:
        return {
            name: round(middle("cells_per_s", name, ours, one_core) / middle("cells_per_s", name, theirs, one_core), 3)
            for name in files
        }

    pairs = {
        "vs_annbatch": (OURS, ANNBATCH),
        "vs_annbatch_x_only": (OURS, X_ONLY),
        "vs_annbatch_store": (ON_THEIRS, ANNBATCH),
        "vs_annbatch_store_x_only": (ON_THEIRS, X_ONLY),
        "vs_annbatch_u16": (OURS, ON_OURS),
        "of_decode_limit": (OURS, DECODE),
        "annbatch_of_decode_limit": (ANNBATCH, DECODE),
    }
    wall = {key: over(*pair) for key, pair in pairs.items()}
    wall["balanced_speed"] = over(BALANCED, LABELLED)
    beside: dict[str, Any] = {}
    if "scDataset" not in bench.skipped:
        fastest = {name: max(middle("cells_per_s", name, who, False) for who in SCDATASET) for name in files}
        beside["vs_scdataset"] = min(
            round(middle("cells_per_s", name, OURS, False) / fastest[name], 3) for name in files
        )
    on_one_core = (
        {} if "one core" in bench.skipped else {key: over(*pair, one_core=True) for key, pair in pairs.items()}
    )
    return beside | {
        "vs_annbatch_full": wall["vs_annbatch"][FULL],
        "vs_annbatch_hvg": wall["vs_annbatch"][HVG],
        "vs_annbatch_store": min(wall["vs_annbatch_store"].values()),
        "vs_annbatch_u16": min(wall["vs_annbatch_u16"].values()),
        "of_decode_limit": min(wall["of_decode_limit"].values()),
        "balanced_speed": min(wall["balanced_speed"].values()),
        "loaders": {
            "cells": {"block": BLOCK, "buffer": BUFFER, "minibatch": MINIBATCH},
            "wall_ratios": wall,
            "wall_ratios_on_one_core": on_one_core,
            "medians": {
                f"{name}: {who}{' (one core)' * one_core}": {
                    what: middle(what, name, who, one_core) for what in ("cells_per_s", "cpu_us_per_cell")
                }
                for name, who, one_core in asks
            },
            "runs": runs,
        },
    }


def load(who: str, source: str, ours: str, annbatch: str) -> dict[str, Any]:
    """One epoch, after a warm-up over two buffers by the same loader object."""
    epochs = epochs_of(who, Path(source), Path(ours), Path(annbatch))
    n_cells = 0
    for x in (warm_up := epochs(0)):
        check(who, x)
        n_cells += x.shape[0]
        # A balanced stream goes on from the epoch before; one that was broken off would read its rings again.
        if n_cells >= WARM_UP_BUFFERS * BUFFER and who != BALANCED:
            break
    del warm_up, x
    # What was being read ahead is read to its end, and counts for nobody.
    time.sleep(SETTLE_S)
    n_cells = 0
    with taking() as took:
        for x in epochs(1):
            n_cells += x.shape[0]
    return {
        "cells": n_cells,
        "cells_per_s": round(n_cells / took["wall_s"]),
        "cpu_us_per_cell": round(took["cpu_s"] / n_cells * 1e6, 3),
        "wall_s": round(took["wall_s"], 3),
    }


def epochs_of(who: str, source: Path, ours: Path, annbatch: Path) -> Epochs:
    """The epochs of a loader, named as in `LOADERS`."""
    if who in (OURS, BALANCED, LABELLED):
        return our_epochs(ours, is_balanced=who == BALANCED, is_labelled=who == LABELLED)
    if who == ON_THEIRS:
        return our_epochs(annbatch)
    if who in (ANNBATCH, X_ONLY):
        return annbatch_epochs(annbatch, with_obs=who == ANNBATCH)
    if who == ON_OURS:
        return annbatch_epochs_of_counts(ours)
    if who == DECODE:
        return decoded_epochs(ours)
    return scdataset_epochs(source, *SCDATASET[who])


def check(who: str, x: Any) -> None:
    """Every loader delivers a float32 CSR tensor on the CPU; decoding alone delivers nothing."""
    import torch

    if who != DECODE:
        assert (x.dtype, x.layout, x.device.type) == (torch.float32, torch.sparse_csr, "cpu"), (who, x)
