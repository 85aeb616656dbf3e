"""CPU of a training step with the view shown in a browser, over that without a view."""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page

from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells
from notebooks import notebook_of

BEGIN = """import sys
sys.path.insert(0, {benchmarks!r})
import json
from showing.trials import Trial, example
atlas = example()"""
MAKE = "trial = Trial(atlas, has_view={has_view}, epochs={epochs})\ntrial.view"
TRAIN = "told = await trial.trained()"


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """Medians over pairs of trainings in one kernel, one after the other; the first pair compiles and is left out."""
    pairs: list[dict[bool, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        (Path(name) / "trials.ipynb").write_text(_notebook(args.epochs))
        open_notebook(page, address, "trials.ipynb")
        run_cells(page, 0, 0)
        for number in range(args.repeats + 1):
            order = (False, True) if number % 2 else (True, False)
            pairs.append({has_view: _trial(page, has_view) for has_view in order})
    pairs = pairs[1:]
    apart = [_per_step(pair[True], apart=True) / _per_step(pair[False]) for pair in pairs]
    whole = [_per_step(pair[True]) / _per_step(pair[False]) for pair in pairs]
    wall = [pair[True]["wall_s"] / pair[False]["wall_s"] for pair in pairs]
    shown = [pair[True] for pair in pairs]
    return {
        "trainer_cpu_ratio": round(median(apart), 3),
        "trainer_cpu_ratio_with_looks": round(median(whole), 3),
        "trainer_wall_ratio": round(median(wall), 3),
        "looks_share_of_wall": round(median(one["looked_s"] / one["wall_s"] for one in shown), 3),
        "layout_share_of_a_core": round(median(one["layout_s"] / one["wall_s"] for one in shown), 3),
        "trainer": {
            "pairs": [round(ratio, 3) for ratio in apart],
            "steps": shown[0]["steps"],
            "wall_s": round(median(one["wall_s"] for one in shown), 2),
            "cpu_ms_per_step_alone": round(1000 * median(_per_step(pair[False]) for pair in pairs), 2),
            "threads_ms_per_step": _threads(shown),
        },
    }


def _per_step(told: dict[str, Any], *, apart: bool = False) -> float:
    """CPU seconds; `apart` leaves out the thread that looks: embedding, layout, prototypes and flags."""
    looking = told["threads_s"].get("livelatent-session", 0.0) if apart else 0.0
    return float((told["process_s"] - looking) / told["steps"])


def _threads(shown: list[dict[str, Any]]) -> dict[str, float]:
    names = {name for one in shown for name in one["threads_s"]}
    spent = {name: 1000 * median(one["threads_s"].get(name, 0.0) / one["steps"] for one in shown) for name in names}
    return {name: round(ms, 3) for name, ms in sorted(spent.items(), key=lambda item: -item[1]) if ms >= 0.005}


def _trial(page: Page, has_view: bool) -> dict[str, Any]:
    cell = 1 if has_view else 2
    run_cells(page, cell, cell)
    if has_view:
        page.get_by_test_id("ll-root").wait_for(timeout=60_000)
        page.get_by_test_id("ll-root").scroll_into_view_if_needed()
    run_cells(page, 3, 3)
    told: dict[str, Any] = json.loads(ask_kernel(page, "print(json.dumps(told))"))
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    return told


def _notebook(epochs: int) -> str:
    begin = BEGIN.format(benchmarks=str(Path(__file__).parents[1]))
    made = [MAKE.format(has_view=has_view, epochs=epochs) for has_view in (True, False)]
    return notebook_of([begin, *made, TRAIN])
