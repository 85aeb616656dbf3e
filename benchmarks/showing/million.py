"""A map of a million cells through the real Publisher into the real page, without a GPU."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells
from notebooks import notebook_of

STREAM_S = 12
MOVE_S = 4
MOVE = """async (seconds) => {
    // An arrow key at every animation frame: each moves the map, and so paints all of it.
    const stage = document.querySelector("[data-testid=ll-map]");
    stage.focus();
    const times = [];
    await new Promise((done) => {
        const step = () => {
            times.push(performance.now());
            const key = times.length % 2 ? "ArrowLeft" : "ArrowRight";
            stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            if (times.at(-1) - times[0] < 1000 * seconds) requestAnimationFrame(step);
            else done();
        };
        requestAnimationFrame(step);
    });
    return times;
}"""


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """Frames a second while the map is moved; from a map's sending to word of its painting, while layouts stream."""
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        (Path(name) / "large.ipynb").write_text(_notebook(args.cells))
        open_notebook(page, address, "large.ipynb")
        run_cells(page, 0, 0)
        stage = page.get_by_test_id("ll-map")
        stage.wait_for(timeout=60_000)
        stage.scroll_into_view_if_needed()
        page.wait_for_function(
            f"() => document.querySelector('[data-testid=ll-map]').dataset.cells === '{args.cells}'", timeout=60_000
        )
        page.wait_for_timeout(2000)
        still = _fps(page)
        ask_kernel(page, "view.source.is_streaming = True")
        page.wait_for_timeout(2000)
        ask_kernel(page, "view.frames.clear()")
        page.wait_for_timeout(1000 * STREAM_S)
        ask_kernel(page, "view.source.is_streaming = False")
        page.wait_for_timeout(2000)
        frames = json.loads(
            ask_kernel(page, "import json; print(json.dumps([view.frames[seq] for seq in sorted(view.frames)]))")
        )
        n_bytes = int(ask_kernel(page, "print(view.n_bytes)"))
        renderer = stage.get_attribute("data-renderer")
        caption = page.locator("[aria-label=Map] h2 small").first.inner_text()
        ask_kernel(page, "view.source.is_streaming = True")
        moving = _fps(page)
        ask_kernel(page, "view.publisher.close()")
    painted = np.array([frame for frame in frames if len(frame) == 2])
    took = painted[:, 1] - painted[:, 0]
    interval = np.diff(painted[:, 0])
    return {
        "fps_1m": round(still, 1),
        "frame_max_ms": round(1000 * float(took.max())),
        "frame_p95_ms": round(1000 * float(np.quantile(took, 0.95))),
        "frame_p50_ms": round(1000 * float(np.median(took))),
        "frame_interval_ms": round(1000 * float(np.median(interval))),
        "frame_intervals_p95": round(float(np.quantile(took, 0.95) / np.median(interval)), 2),
        "fps_1m_while_streaming": round(moving, 1),
        "million": {
            "frames": len(took),
            "bytes": n_bytes,
            "renderer": renderer,
            "caption": caption,
            "cells": args.cells,
        },
    }


def _fps(page: Page) -> float:
    times = page.evaluate(MOVE, MOVE_S)
    return float((len(times) - 1) / (times[-1] - times[0]) * 1000)


def _notebook(n_cells: int) -> str:
    benchmarks = str(Path(__file__).parents[1])
    code = f"""import sys
sys.path.insert(0, {benchmarks!r})
from showing.large_map import show
view = show({n_cells})
view"""
    return notebook_of([code])
