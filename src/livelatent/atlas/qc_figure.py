"""The distributions that quality control cuts, with the cuts drawn in."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from livelatent.atlas.qc import Criterion, QualityControl

KEPT, REMOVED, LINE = "#4c78a8", "#d55e00", "#333333"
N_BINS = 80


def qc_figure(found: "QualityControl") -> "Figure":
    """One histogram per criterion; cells outside the cut are in another colour, and counted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, one in zip(figure.subplots(2, 2).ravel(), found.criteria, strict=True):
        histogram(axes, one)
    n_removed = int((~found.kept).sum())
    # A name is text: matplotlib would set what stands between dollar signs as a formula.
    name = found.atlas.path.name.replace("$", r"\$")
    figure.suptitle(f"{name}: {n_removed:,} of {found.kept.size:,} cells are outside a cut", fontsize=12)
    return figure


def histogram(axes: "Axes", one: "Criterion") -> None:
    """The distribution of one criterion, its median and its cuts."""
    value = one.value[~np.isnan(one.value)]
    axes.set_title(one.title, loc="left", fontsize=11)
    axes.set_ylabel("cells (above 10: logarithmic)", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not value.size:
        axes.text(0.5, 0.5, "no cell has one", transform=axes.transAxes, ha="center", va="center")
        return
    low, high = float(value.min()), float(value.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    # A bin ends at each cut, so that a bar is wholly inside or wholly outside.
    edges = np.unique([*np.linspace(low, high, N_BINS + 1), *(cut for cut in (one.low, one.high) if low < cut < high)])
    count, _ = np.histogram(value, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    outside = (middle < one.low) | (middle > one.high)
    # Height per width: bins that a cut has narrowed would look emptier than they are.
    height = count * ((high - low) / N_BINS) / np.diff(edges)
    axes.bar(edges[:-1], height, np.diff(edges), align="edge", color=np.where(outside, REMOVED, KEPT).tolist())
    # So few cells are outside a cut that they would not be seen beside the others.
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(0, max(float(height.max()) * 3, 30.0))
    if one.note:
        text = textwrap.fill(f"not cut: {one.note}", 55)
        box = {"facecolor": "white", "edgecolor": LINE, "linewidth": 0.5}
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, bbox=box)
        return
    axes.axvline(one.median, color=LINE, linewidth=0.8, linestyle=":")
    for cut in (one.low, one.high):
        if low <= cut <= high:
            axes.axvline(cut, color=REMOVED, linewidth=1.2)
    sides = [(one.too_low, "below", one.low), (one.too_high, "above", one.high)]
    text = ", ".join(f"{int(removed.sum()):,} {side} {in_units(one, cut)}" for removed, side, cut in sides)
    axes.set_title(text, loc="right", fontsize=9, color=REMOVED)
    axes.set_xlabel(f"median {one.median:.2f} ± {one.n_mads:g} x MAD {one.mad:.3g}", fontsize=9)


def in_units(one: "Criterion", cut: float) -> str:
    """Where a cut lies, in genes or counts where the axis is a logarithm of them."""
    if one.name in ("n_genes", "total"):
        return f"{max(np.expm1(cut), 0):,.0f} {'genes' if one.name == 'n_genes' else 'counts'}"
    return f"{cut:.1f} %"
