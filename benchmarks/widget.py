"""What the live view promises, in a real Chromium: `python benchmarks/widget.py --json [--only clicks reload ...]`.

A JupyterLab on this machine runs the quickstart, or a map of a million cells, and Chromium shows it without a GPU. How
each figure is counted: `docs/decisions.md`. Earlier ipykernels and marimo are brought by pip into a temporary folder;
what can't be had is named under `missing`.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

SECTIONS = ("bundle", "clicks", "reload", "million", "trainer", "layouts")
"""What `--only` names: each is a module of `showing/`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--clicks", type=int, default=60, help="for each kernel")
    parser.add_argument("--pairs", type=int, default=40, help="of windows of training, the view silent and speaking")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, in which layouts are counted")
    parser.add_argument("--cells", type=int, default=1_000_000, help="on the large map")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    args = parser.parse_args()
    result: dict[str, Any] = {}
    for name in args.only:
        result |= importlib.import_module(f"showing.{name}").figures(args)
        print(json.dumps(result), file=sys.stderr)  # an hour of others is not lost with one that fails
    # Figures first, then what they come from.
    ordered = dict(sorted(result.items(), key=lambda item: isinstance(item[1], dict | list)))
    print(json.dumps(ordered | about(), indent=None if args.json else 1))


def about() -> dict[str, Any]:
    """Where and with what it was measured."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    names = ("ipykernel", "jupyterlab", "ipywidgets", "anywidget", "torch", "playwright")
    return {
        "commit": told.stdout.strip(),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(load, 1) for load in os.getloadavg()],
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in names},
    }


if __name__ == "__main__":
    main()
