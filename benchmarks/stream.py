"""The stream beside its peers and its limits: `python benchmarks/stream.py --json --work FOLDER [--quick]`.

Atlases are simulated (`benchmarks/ingest.py`) and stored once per work folder, by ingest and by annbatch. Each
measurement is a fresh process that imports, warms up, and then does one thing; runs are interleaved over rounds, in an
order of their own in each, and files are in the page cache. How each figure is counted: `docs/decisions.md`. Peers:
`pip install '.[bench]'`.
"""

import argparse
import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

SECTIONS = {
    "loaders": "loaders",
    "overlap": "overlap",
    "randomness": "randomness",
    "memory": "memory",
    "dask": "dask_cost",
    "scaling": "scaling",
    "knn": "knn",
}
"""What `--only` names: the module of each."""
TASKS = {
    "store": "atlases",
    "load": "loaders",
    "fill": "randomness",
    "steps": "overlap",
    "entropy": "randomness",
    "peak": "memory",
    "groups": "dask_cost",
    "epoch": "scaling",
    "sorted_store": "knn",
    "accuracy": "knn",
}
"""What a fresh process is asked for: the module of each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--work", type=Path, default=Path("/tmp/livelatent-ingest"), help="as of ingest.py; 9 GB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="100,000 and 20,000 cells, one round: some minutes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--skip", nargs="+", choices=("scDataset", "one core"), default=[], help="of the loaders")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        task, asked = args.one
        print(json.dumps(getattr(module(TASKS[task]), task)(**json.loads(asked))))
        return

    from ingest import about
    from streaming.process import MeasurementError

    bench = module("atlases").Bench(args.work.resolve(), 1 if args.quick else args.rounds, args.quick, tuple(args.skip))
    bench.work.mkdir(parents=True, exist_ok=True)
    facts = about(args) | {"rounds": bench.rounds, "is_quick": bench.is_quick, "commit": commit()}
    facts["versions"] |= {name: version(name) for name in ("torch", "scDataset", "scipy")}
    result: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name in args.only:
        try:
            result |= module(SECTIONS[name]).figures(bench)
        except MeasurementError as error:
            # An hour of other sections is not thrown away for it.
            failed[name] = str(error)
            print(error, file=sys.stderr)
    # Figures first, then what they come from.
    ordered = dict(sorted(result.items(), key=lambda item: isinstance(item[1], dict)))
    print(json.dumps(ordered | facts | {"failed": failed}, indent=None if args.json else 1))
    if failed:
        raise SystemExit(1)


def module(name: str) -> Any:
    """Of `streaming/`; each imports what it measures where it measures it."""
    return importlib.import_module(f"streaming.{name}")


def commit() -> str:
    """Of this checkout, with a mark where files differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return told.stdout.strip()


if __name__ == "__main__":
    main()
