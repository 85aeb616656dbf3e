"""The heat maps of distances between types: their mean over batches, and how constant they are."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from livelatent.atlas.centroids import CentroidDistances

NEVER = "#e6e6e6"
VALUES_UP_TO = 14
"""Labels up to which each square bears its number; more would not be legible."""
NAME_LENGTH = 28


def centroid_figure(distances: "CentroidDistances") -> "Figure":
    """Mean distance on the left, coefficient of variation on the right; grey where there is none."""
    from matplotlib.figure import Figure

    n = len(distances.names)
    side = min(max(0.42 * n + 2.2, 4.0), 16.0)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    left, right = figure.subplots(1, 2)
    mean = np.where(distances.n_batches > 0, distances.mean, np.nan)
    heat_map(left, mean, distances.names, "a  mean distance between centroids", "share of the largest", 1.0)
    known = distances.pairs["cv"].dropna()
    about = f"mean {known.mean():.3f}, sd {known.std(ddof=0):.3f}" if len(known) else "no pair is in two batches"
    top = max(float(known.max()) if len(known) else 0.0, 0.1)
    figure.supxlabel("grey: the two are never in one batch; on the right, in fewer than two", fontsize=8)
    heat_map(right, distances.cv, distances.names, "b  coefficient of variation over batches", about, top)
    return figure


def heat_map(axes: "Axes", values: np.ndarray, names: tuple[str, ...], title: str, about: str, top: float) -> None:
    """One matrix of labels, colours from 0 to `top`."""
    from matplotlib import colormaps

    colours = colormaps["viridis"].with_extremes(bad=NEVER)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=top, interpolation="nearest")
    # A name is text: matplotlib would set what stands between dollar signs as a formula.
    short = [(f"{name[: NAME_LENGTH - 1]}…" if len(name) > NAME_LENGTH else name).replace("$", r"\$") for name in names]
    size = 9 if len(names) <= 30 else 6
    axes.set_xticks(range(len(names)), short, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(names)), short, fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label=about)
    if len(names) <= VALUES_UP_TO:
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            value = float(values[row, column])
            ink = "black" if value > 0.6 * top else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
