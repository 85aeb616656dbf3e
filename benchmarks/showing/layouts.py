"""How often the map is laid out anew while a training on both cores goes on, with a browser that shows it."""

import argparse
from typing import Any

from showing.in_notebook import measured_in_notebook

SHOWS = """from showing.layout_times import LayoutTimes
times = LayoutTimes()
times.view"""


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """`layout_gap_s`: the longest time without a new layout, what is under way at the end counted as well."""
    told: dict[str, Any] = measured_in_notebook(SHOWS, f"await times.watch({args.seconds})", timeout_s=300)
    return {"layout_gap_s": max(told["gaps_s"]), "layouts": told}
