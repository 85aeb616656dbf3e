"""How well cells of a type that no model has seen are found: `python benchmarks/novelty.py --json --work FOLDER`.

Every type of 20 cells or more is left out once: Model 1 is trained without it, and asked about a fifth of the other
cells, drawn at random within batches, and about all cells of that type. New donors and new studies are rows of their
own. Stores, models and scores are kept in the work folder: an interrupted run goes on where it was.
"""

import argparse
import json
import os
import sys
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    from leaving_out import figures, scores, tasks, trained

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line, nothing else on stdout")
    parser.add_argument("--work", type=Path, default=Path("/tmp/livelatent-novelty"), help="stores, models and scores")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", default=list(tasks.REPORT), help=f"or {' '.join(tasks.TUNING)}")
    parser.add_argument("--methods", nargs="+", default=list(scores.METHODS), choices=scores.METHODS)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three types of each data set, 4 epochs")
    parser.add_argument("--prepare", action="store_true", help="only make stores and models")
    parser.add_argument("--again", action="store_true", help="score again with the models that are kept")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    epochs = 4 if args.quick else args.epochs
    every = []
    for name in args.sets:
        own = tasks.tasks_of(args.data, name)
        every += own[:3] if args.quick else own
    records = []
    for number, task in enumerate(every, 1):
        one = trained.trained(task, args.data, args.work, epochs=epochs, seed=args.seed)
        print(f"{number}/{len(every)} {task.name}: trained ({one.facts['training_cpu_s']} CPU s)", file=sys.stderr)
        if args.prepare:
            continue
        kept = args.work / f"{task.name}-{epochs}-{args.seed}" / "scores"
        for record in scores.scored(task, one, args.methods, kept, again=args.again):
            records.append(record)
            print("   ", scores.line(record), file=sys.stderr)
    if not args.prepare:
        table = figures.figures(records)
        print(json.dumps(table) if args.json else figures.text(table))


if __name__ == "__main__":
    main()
