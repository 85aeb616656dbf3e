"""CPU of a training step with the view shown in a browser, over that without a view."""

import argparse
import json
import tempfile
from collections.abc import Callable
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
MAKE = "trial = Trial(atlas, cpu_share={share}, epochs={epochs})\ntrial.view"
TRAIN = "told = await trial.trained()"
SHARES = {"alone": None, "view": 0.01, "looking": 0.15}
"""Without a view; with one that hardly ever looks, so that no layout on the other core slows the trainer
down; with one that looks as often as by default."""
ORDER = ("alone", "view", "looking", "looking", "view", "alone")
"""What drifts through a block favours none."""

Told = dict[str, Any]


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """Medians over blocks of six trainings in one kernel; what warms up is left out."""
    blocks: list[dict[str, list[Told]]] = []
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        (Path(name) / "trials.ipynb").write_text(_notebook(args.epochs))
        open_notebook(page, address, "trials.ipynb")
        run_cells(page, 0, 0)
        for kind in ("looking", "alone"):
            _trial(page, kind)
        for _ in range(args.repeats):
            block: dict[str, list[Told]] = {kind: [] for kind in SHARES}
            for kind in ORDER:
                block[kind].append(_trial(page, kind))
            blocks.append(block)
    every = {kind: [one for block in blocks for one in block[kind]] for kind in SHARES}
    return {
        "trainer_cpu_ratio": _ratio(blocks, "view", _cpu_s),
        "trainer_cpu_ratio_looking": _ratio(blocks, "looking", _cpu_s),
        "trainer_wall_ratio_looking": _ratio(blocks, "looking", lambda one: float(one["wall_s"])),
        "looks_share_of_wall": round(median(one["looked_s"] / one["wall_s"] for one in every["looking"]), 3),
        "layout_share_of_a_core": round(median(one["layout_s"] / one["wall_s"] for one in every["looking"]), 3),
        "trainer": {
            "blocks": [_ratio([block], "view", _cpu_s) for block in blocks],
            "steps": every["alone"][0]["steps"],
            "wall_s": round(median(one["wall_s"] for one in every["alone"]), 2),
            "threads_ms_per_step": {kind: _threads(told) for kind, told in every.items()},
        },
    }


def _cpu_s(told: Told) -> float:
    """Of the process, but for the thread that looks: embedding, layout, prototypes and flags."""
    return float(told["process_s"] - told["threads_s"].get("livelatent-session", 0.0))


def _ratio(blocks: list[dict[str, list[Told]]], kind: str, of: Callable[[Told], float]) -> float:
    """The median over blocks of `kind` over alone, per step."""

    def per_step(told: list[Told]) -> float:
        return sum(map(of, told)) / sum(one["steps"] for one in told)

    return round(median(per_step(block[kind]) / per_step(block["alone"]) for block in blocks), 3)


def _threads(shown: list[dict[str, Any]]) -> dict[str, float]:
    names = {name for one in shown for name in one["threads_s"]}
    spent = {name: 1000 * median(one["threads_s"].get(name, 0.0) / one["steps"] for one in shown) for name in names}
    return {name: round(ms, 3) for name, ms in sorted(spent.items(), key=lambda item: -item[1]) if ms >= 0.005}


def _trial(page: Page, kind: str) -> Told:
    cell = 1 + list(SHARES).index(kind)
    run_cells(page, cell, cell)
    if SHARES[kind] is not None:
        page.get_by_test_id("ll-root").wait_for(timeout=60_000)
        page.get_by_test_id("ll-root").scroll_into_view_if_needed()
    last = 1 + len(SHARES)
    run_cells(page, last, last)
    told: Told = json.loads(ask_kernel(page, "print(json.dumps(told))"))
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    return told


def _notebook(epochs: int) -> str:
    begin = BEGIN.format(benchmarks=str(Path(__file__).parents[1]))
    made = [MAKE.format(share=share, epochs=epochs) for share in SHARES.values()]
    return notebook_of([begin, *made, TRAIN])
