"""How often the map is laid out anew while a training on both cores goes on, with a browser that shows it."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells
from notebooks import notebook_of

BEGIN = """import sys
sys.path.insert(0, {benchmarks!r})
import json
from showing.layout_times import LayoutTimes
times = LayoutTimes()
times.view"""
TRAIN = "told = await times.watch({seconds})"


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """`layout_gap_s`: the longest time without a new layout, what is under way at the end counted as well."""
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        begin = BEGIN.format(benchmarks=str(Path(__file__).parents[1]))
        (Path(name) / "layouts.ipynb").write_text(notebook_of([begin, TRAIN.format(seconds=args.seconds)]))
        open_notebook(page, address, "layouts.ipynb")
        run_cells(page, 0, 0)
        page.get_by_test_id("ll-root").wait_for(timeout=300_000)
        page.get_by_test_id("ll-root").scroll_into_view_if_needed()
        run_cells(page, 1, 1)
        told: dict[str, Any] = json.loads(ask_kernel(page, "print(json.dumps(told))"))
    return {"layout_gap_s": max(told["gaps_s"]), "layouts": told}
