"""A comparison as a Markdown table and as a figure."""

from typing import Any

import numpy as np

from livelatent.judge.comparison.compare import Comparison

__all__ = ["figure", "markdown"]

TITLES = {
    "lr_raw": "logistic regression, genes",
    "lr_pca": "logistic regression, 50 PCs",
    "knn_pca": "15 nearest neighbours, 50 PCs",
    "livelatent": "livelatent's annotator",
    "cellular": "CELLULAR's latent alone",
}


def markdown(comparison: Comparison) -> str:
    """A table of means (and spread over splits), the notes below it."""
    lines = [
        "| method | accuracy | balanced | macro-F1 | NMI | ARI | iLISI | CPU s | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in comparison.rows:
        cells = [title(row["method"])]
        cells += [_with_spread(row, name) for name in ("accuracy", "balanced_accuracy", "macro_f1")]
        cells += ["-" if row[name] is None else f"{row[name]:.3f}" for name in ("nmi", "ari", "ilisi")]
        cells.append("-" if row["cpu_s"] is None else f"{row['cpu_s']:.1f}")
        cells.append("-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f} MB")
        lines.append("| " + " | ".join(cells) + " |")
    text = [f"Held out: {comparison.held_out}. Means over splits, ± their standard deviation.", "", *lines]
    if comparison.notes:
        # Names of groups are the files': one with a line break in it must not begin a line of its own.
        text += ["", *(" ".join(note.split()) for note in comparison.notes)]
    return "\n".join(text) + "\n"


def figure(comparison: Comparison) -> Any:
    """Accuracy and macro-F1 of every split as points, means as bars; gives a matplotlib Figure."""
    from matplotlib.figure import Figure

    methods = [row["method"] for row in comparison.rows]
    drawn = Figure(figsize=(8.5, 0.5 * len(methods) + 1.4), layout="constrained")
    axes = drawn.subplots(1, 2, sharey=True)
    place = np.arange(len(methods))[::-1]
    for panel, (name, words) in zip(axes, (("accuracy", "accuracy"), ("macro_f1", "macro-F1")), strict=True):
        means = comparison.trials.groupby(["method", "split"], sort=False)[name].mean()
        for y, method in zip(place, methods, strict=True):
            values = means[method].dropna().to_numpy(float)
            if not len(values):  # a peer that failed
                continue
            color = "tab:blue" if method == "livelatent" else "0.55" if method.startswith("lr_") else "0.75"
            panel.barh(y, values.mean(), height=0.6, color=color)
            panel.plot(values, np.full(len(values), y), "o", color="black", markersize=3, alpha=0.6)
        low = float(means.min())
        panel.set(xlim=(max(low - 0.05, 0.0), 1.0), xlabel=words)
    axes[0].set_yticks(place, [title(method) for method in methods])
    drawn.suptitle(f"Held out: {comparison.held_out}", fontsize=10)
    return drawn


def title(method: str) -> str:
    """What a method is, for people."""
    return TITLES.get(method, method)


def _with_spread(row: dict[str, Any], name: str) -> str:
    spread = row[f"{name}_sd"]
    if row[name] is None:
        return "-"
    return f"{row[name]:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
