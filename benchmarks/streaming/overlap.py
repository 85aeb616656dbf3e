"""How busy a device is kept whose step takes as long as annbatch needs to load a minibatch."""

import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from streaming.atlases import Bench
from streaming.loaders import ANNBATCH, OURS, SETTLE_S, WARM_UP_BUFFERS, epochs_of
from streaming.ours import BUFFER, MINIBATCH, our_epochs
from streaming.process import measured

EPOCHS = 2
FIGURES = (
    "busy",
    "worst_stall_steps",
    "worst_within_epochs_steps",
    "between_epochs_steps",
    "first_wait_steps",
    "step_ms",
)


def figures(bench: Bench) -> dict[str, Any]:
    """Medians over rounds, the worse atlas; the step is annbatch's load time of the same round."""
    files = {name: bench.files(atlas) for name, atlas in bench.atlases.items()}
    runs = []
    for number in range(bench.rounds):
        for name, paths in files.items():
            loaded = measured("load", who=ANNBATCH, **paths._asdict())
            step_s = loaded["wall_s"] / -(-loaded["cells"] // MINIBATCH)
            for who in (OURS, ANNBATCH) if number % 2 == 0 else (ANNBATCH, OURS):
                answer = measured("steps", who=who, step_s=step_s, **paths._asdict())
                runs.append({"round": number, "atlas": name, "who": who, "step_ms": round(step_s * 1e3, 3)} | answer)
    medians = {
        who: {
            name: {
                what: round(median(run[what] for run in runs if (run["who"], run["atlas"]) == (who, name)), 3)
                for what in FIGURES
            }
            for name in files
        }
        for who in (OURS, ANNBATCH)
    }
    return {
        "device_busy": min(of["busy"] for of in medians[OURS].values()),
        "worst_stall_steps": max(of["worst_stall_steps"] for of in medians[OURS].values()),
        "device_busy_annbatch": min(of["busy"] for of in medians[ANNBATCH].values()),
        "worst_stall_steps_annbatch": max(of["worst_stall_steps"] for of in medians[ANNBATCH].values()),
        "overlap": {"medians": medians, "runs": runs},
    }


def steps(who: str, step_s: float, source: str, ours: str, annbatch: str) -> dict[str, Any]:
    """Two epochs in a row, each minibatch followed by a step that leaves the CPU alone."""
    # As in training, which knows that another epoch follows.
    epochs = (
        our_epochs(Path(ours), goes_on=True)
        if who == OURS
        else epochs_of(who, Path(source), Path(ours), Path(annbatch))
    )
    for _ in islice(epochs(0), WARM_UP_BUFFERS * BUFFER // MINIBATCH):
        pass
    time.sleep(SETTLE_S)
    overrun_s = timer_overrun(step_s)
    waits: list[float] = []
    firsts = []
    asked = started = time.perf_counter()
    for epoch in range(1, 1 + EPOCHS):
        firsts.append(len(waits))
        for _ in epochs(epoch):
            waits.append(time.perf_counter() - asked)
            if len(waits) == 1:
                # Before the first minibatch of a run nothing could be read ahead: start-up, told apart.
                started = time.perf_counter()
            time.sleep(max(step_s - overrun_s, 0.0))
            asked = time.perf_counter()
    spent = time.perf_counter() - started
    within = [wait for at, wait in enumerate(waits) if at not in firsts]
    return {
        # A step counts as long as it was meant to be: what it slept too long, kept off the CPU, a device would idle.
        "busy": round(len(waits) * step_s / spent, 4),
        "worst_stall_steps": round(max(waits[1:]) / step_s, 2),
        "worst_within_epochs_steps": round(max(within) / step_s, 2),
        "between_epochs_steps": round(max(waits[at] for at in firsts[1:]) / step_s, 2),
        "first_wait_steps": round(waits[0] / step_s, 2),
        "minibatches": len(waits),
    }


def timer_overrun(step_s: float) -> float:
    """What an idle process sleeps longer than it asks: some 70 us, which is no idleness of a device."""
    slept = []
    for _ in range(50):
        began = time.perf_counter()
        time.sleep(step_s)
        slept.append(time.perf_counter() - began - step_s)
    return median(slept)
