"""A page reloaded in mid-training: how long until everything is there again."""

import argparse
import time
from statistics import median
from typing import Any

from playwright.sync_api import Page

from notebooks import points, wait_for_points
from showing.quickstart import in_training

RELOADS = 5
CONNECTED = """() => {
    const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === "connected";
}"""
COMPLETE = """([n, cells]) =>
    Number(document.querySelector("[data-testid=ll-curves]")?.dataset.points ?? 0) >= n
    && document.querySelector("[data-testid=ll-map]")?.dataset.cells === cells
    && document.querySelector("[data-testid=ll-state]")?.textContent === "training"
"""


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """The median of some reloads, each of a longer history."""
    took: list[dict[str, float]] = []
    with in_training() as (page, _):
        page.wait_for_function(
            "() => Number(document.querySelector('[data-testid=ll-map]')?.dataset.cells ?? 0) > 0", timeout=120_000
        )
        for _ in range(RELOADS):
            wait_for_points(page, points(page) + 500)
            took.append(_reload(page))
    return {
        "reload_s": round(median(one["state_s"] for one in took), 2),
        "reload_max_s": round(max(one["state_s"] for one in took), 2),
        "reload_from_navigation_s": round(median(one["all_s"] for one in took), 2),
        "reload_points": [int(one["points"]) for one in took],
    }


def _reload(page: Page) -> dict[str, float]:
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    n_points = points(page)
    cells = page.get_by_test_id("ll-map").get_attribute("data-cells")
    began = time.monotonic()
    page.reload(wait_until="commit")
    # Until here it is JupyterLab that loads; from here on the view has a kernel to ask.
    page.wait_for_function(CONNECTED, timeout=120_000, polling=20)
    connected = time.monotonic()
    page.wait_for_function(COMPLETE, arg=[n_points, cells], timeout=60_000, polling=20)
    ended = time.monotonic()
    return {"state_s": ended - connected, "all_s": ended - began, "points": n_points}
