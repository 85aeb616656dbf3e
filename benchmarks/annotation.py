"""The default annotator beside logistic regression: `python benchmarks/annotation.py --json [--only kang ...]`.

Each donor of kang_pbmc_ctrl, each study of pbmc_multistudy and each protocol of sc_mixology is held out once; types
seen in training are scored. The model's batches are the files' `batch` column, finer than the study or protocol held
out. `--tuning` measures the data that choices may be made on instead.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import livelatent as ll
from livelatent.judge.comparison.compare import Comparison, compare
from livelatent.judge.comparison.methods import methods_of

REPORT = {
    "kang_pbmc_ctrl": None,
    "pbmc_multistudy": "study",
    "sc_mixology_5protocol_hvg": "protocol",
}
"""File: the obs column whose groups are held out; None is `batch`."""
TUNING = {"worm_l2_monocle3": None, "pbmc3k_seurat": None, "paul15_myeloid": None}
UNLABELLED = ["Unclassified neurons"]
ROWS = ("lr_raw", "lr_pca", "knn_pca", "livelatent", "cellular", "scvi", "scanvi")


def measured(file: Path, by: str | None, args: argparse.Namespace) -> Comparison:
    """One data set."""
    with tempfile.TemporaryDirectory(prefix="livelatent-annotation-") as folder:
        atlas = ll.ingest(
            file,
            Path(folder) / "cells.zarr",
            label="cell_type",
            batch="batch",
            unlabelled=UNLABELLED,
            memory="1GB",
            progress=False,
        )
        methods = [one for one in methods_of(peers=not args.no_peers) if one.name in args.methods]

        def told(what: str, share: float) -> None:
            print(f"{file.stem}: {share:4.0%} {what}", file=sys.stderr, flush=True)

        return compare(
            atlas,
            by=by,
            methods=methods,
            seeds=args.seeds,
            epochs=args.epochs,
            embeddings=args.embeddings,
            device="cpu",
            progress=told,
        )


def summary(found: dict[str, Comparison]) -> dict[str, Any]:
    """Figures over all splits of all data sets, each split with equal weight."""
    gain = pd.concat([one.gain() for one in found.values()])
    alone = pd.concat([one.gain("cellular") for one in found.values()])
    means = pd.concat([one.trials for one in found.values()]).groupby("method", sort=False)[["accuracy", "macro_f1"]]
    return {
        "mean_gain_accuracy": round(float(gain["accuracy"].mean()), 4),
        "mean_gain_macro_f1": round(float(gain["macro_f1"].mean()), 4),
        "worst_gain_accuracy": round(float(gain["accuracy"].min()), 4),
        "worst_gain_macro_f1": round(float(gain["macro_f1"].min()), 4),
        "embedding_only_gain_accuracy": round(float(alone["accuracy"].mean()), 4),
        "embedding_only_gain_macro_f1": round(float(alone["macro_f1"].mean()), 4),
        "n_splits": len(gain),
        "means": {str(name): row for name, row in means.mean().round(4).to_dict("index").items()},
        "splits": {
            name: {str(split): row for split, row in one.gain().round(4).to_dict("index").items()}
            for name, one in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", nargs="+", help="part of a file's name")
    parser.add_argument("--tuning", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="of the longest stage; the model's own")
    parser.add_argument("--methods", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--embeddings", action="store_true", help="NMI, ARI and iLISI too")
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()
    if not {"lr_raw", "lr_pca", "livelatent", "cellular"} <= set(args.methods):
        parser.error("lr_raw, lr_pca, livelatent and cellular are always among the methods")
    found: dict[str, Comparison] = {}
    for name, by in (TUNING if args.tuning else REPORT).items():
        if args.only and not any(part in name for part in args.only):
            continue
        found[name] = measured(args.data / f"{name}.h5ad", by, args)
        print(found[name].gain().round(4).to_string(), file=sys.stderr, flush=True)
    result = summary(found) | {"seeds": args.seeds, "data": {name: one.to_json() for name, one in found.items()}}
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
