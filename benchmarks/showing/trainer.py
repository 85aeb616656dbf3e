"""CPU of a training step while the view shows it in a browser, over that while it is silent."""

import argparse
from statistics import median
from typing import Any

from showing.in_notebook import measured_in_notebook

SHOWS = """from showing.trials import Trial, example
trial = Trial(example())
trial.view"""

LOOKS = "livelatent-session"
"""Embedding, prototypes and flags, which the bar leaves aside; the layout has a process of its own."""
CARRIERS = ("livelatent-publisher", "IOPub", "Shell channel", "subshell")
"""Without a view these would have nothing to do; in a silent window they still answer pings."""

Window = dict[str, Any]


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """Of neighbouring windows of one training, silent and speaking in turns."""
    told: list[Window] = measured_in_notebook(SHOWS, f"await trial.windows({args.pairs})", timeout_s=60)
    silent, speaking = ([one for one in told if one["speaks"] is speaks] for speaks in (False, True))
    ratios = [_cpu_ms(b) / _cpu_ms(a, without_view=True) for a, b in zip(silent, speaking, strict=True)]
    return {
        "trainer_cpu_ratio": round(median(ratios), 3),
        "trainer_wall_ratio": round(
            median(_wall_ms(b) / _wall_ms(a) for a, b in zip(silent, speaking, strict=True)), 3
        ),
        "looks_share_of_wall": _share(told, "looked_s"),
        "layout_share_of_a_core": _share(told, "layout_s"),
        "trainer": {
            "pairs": len(ratios),
            "ratio_quartiles": [round(float(ratio), 3) for ratio in _quartiles(ratios)],
            "cpu_ms_per_step_silent": round(median(map(_cpu_ms, silent)), 2),
            "threads_ms_per_step": _threads(speaking),
            "threads_ms_per_step_silent": _threads(silent),
        },
    }


def _cpu_ms(window: Window, *, without_view: bool = False) -> float:
    """Per step, of the process but for the thread that looks; `without_view` also takes out what only a view needs."""
    apart = (LOOKS, *CARRIERS) if without_view else (LOOKS,)
    spent = window["process_s"] - sum(window["threads_s"].get(name, 0.0) for name in apart)
    return float(1000 * spent / window["steps"])


def _wall_ms(window: Window) -> float:
    return float(1000 * window["wall_s"] / window["steps"])


def _share(told: list[Window], what: str) -> float:
    return round(sum(one[what] for one in told) / sum(one["wall_s"] for one in told), 3)


def _quartiles(ratios: list[float]) -> tuple[float, float]:
    ordered = sorted(ratios)
    return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]


def _threads(windows: list[Window]) -> dict[str, float]:
    names = {name for one in windows for name in one["threads_s"]}
    steps = sum(one["steps"] for one in windows)
    spent = {name: 1000 * sum(one["threads_s"].get(name, 0.0) for one in windows) / steps for name in names}
    return {name: round(ms, 3) for name, ms in sorted(spent.items(), key=lambda item: -item[1]) if ms >= 0.005}
