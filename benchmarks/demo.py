"""The demo's figures: `python benchmarks/demo.py --json [--repeats 3] [--data ../shared/data]`.

Each run is the command a new user types, in a fresh folder, as a process of its own. `wall_s` includes the
interpreter's start and imports; numba's kernels are compiled where no cache is at hand (the first run of a checkout).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

REAL = (("pbmc_multistudy", "CD34+"), ("kang_pbmc_ctrl", "Megakaryocytes"))


def run_demo(*words: str) -> dict[str, Any]:
    """One run of the demo; what it printed, and its wall time."""
    program = Path(sys.executable).with_name("livelatent")
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = subprocess.run(
            [program, "demo", *words, "--no-lab", "--json"], capture_output=True, text=True, cwd=folder, check=True
        )
        facts: dict[str, Any] = json.loads(done.stdout)
    return facts | {"wall_s": round(time.monotonic() - started, 1)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over runs; the flags of the last."""
    best_lr = [max(run["lr_raw_accuracy"], run["lr_pca_accuracy"]) for run in runs]
    return {
        "wall_s": [run["wall_s"] for run in runs],
        "wall_s_median": median(run["wall_s"] for run in runs),
        "accuracy": median(run["accuracy"] for run in runs),
        "accuracy_minus_better_lr": round(
            median(run["accuracy"] - lr for run, lr in zip(runs, best_lr, strict=True)), 4
        ),
        "accuracy_cells": runs[-1]["accuracy_cells"],
        "hidden_type": runs[-1]["hidden_type"],
        "hidden_cells": runs[-1]["hidden_cells"],
        "flags": [{name: flag[name] for name in ("cells", "purity", "p_value")} for flag in runs[-1]["flags"]],
        "best_purity": max((flag["purity"] for flag in runs[-1]["flags"]), default=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    args = parser.parse_args()
    result = {"pbmc68k_reduced": summary([run_demo() for _ in range(args.repeats)])}
    for name, hidden in REAL:
        file = args.data / f"{name}.h5ad"
        if file.exists():
            words = (str(file.resolve()), "--label", "cell_type", "--batch", "batch", "--hide", hidden)
            result[name] = summary([run_demo(*words)])
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
