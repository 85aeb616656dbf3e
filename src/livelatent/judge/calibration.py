"""Whether a probability means what it says: reliability in bins, and the expected calibration error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from livelatent.arrays import Bool, Float, Int, ndarray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Reliability", "reliability"]

N_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Cells in bins of equal width by the probability of their most likely label."""

    n_cells: Int[ndarray, " bin"]
    n_right: Int[ndarray, " bin"]
    """Cells whose most likely label is the true one."""
    probability: Float[ndarray, " bin"]
    """Summed over the cells of the bin."""

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over cells of their bin's distance between probability and accuracy.

        Raises
        ------
        ValueError
            If no cell was judged.
        """
        if not self.n_cells.sum():
            raise ValueError("a calibration error needs cells of known label; got none.")
        return float(np.abs(self.n_right - self.probability).sum() / self.n_cells.sum())

    def figure(self, axes: "Axes | None" = None, title: str = "") -> Any:
        """Draw accuracy against probability, with the share of cells in each bin; gives a matplotlib Figure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.2, 4.0), layout="constrained") if axes is None else axes.figure
        axes = figure.add_subplot() if axes is None else axes
        held = self.n_cells > 0
        width = 1 / len(self.n_cells)
        middle = (np.arange(len(self.n_cells)) + 0.5) * width
        axes.bar(middle, self.n_cells / max(int(self.n_cells.sum()), 1), width, color="0.85", label="share of cells")
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="as it should be")
        x, y = self.probability[held] / self.n_cells[held], self.n_right[held] / self.n_cells[held]
        axes.plot(x, y, "o-", color="tab:blue", label="annotator")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability of the label given", ylabel="share that is right")
        axes.set_title(title or f"calibration error {self.error:.3f}, {int(self.n_cells.sum()):,} cells", fontsize=10)
        axes.legend(loc="upper left", frameon=False, fontsize=8)
        return figure


def reliability(
    probability: Float[ndarray, " cell"], is_right: Bool[ndarray, " cell"], n_bins: int = N_BINS
) -> Reliability:
    """Bin cells by their probability.

    Parameters
    ----------
    probability
        Of each cell's most likely label.
    is_right
        Whether that label is the true one.

    Notes
    -----
    Expected calibration error as in Guo et al. (2017), equation 5: 15 bins of equal width.
    """
    code = np.minimum((np.asarray(probability) * n_bins).astype(np.int64), n_bins - 1)
    return Reliability(
        n_cells=np.bincount(code, minlength=n_bins).astype(np.int64),
        n_right=np.bincount(code[is_right], minlength=n_bins).astype(np.int64),
        probability=np.bincount(code, weights=probability, minlength=n_bins).astype(np.float64),
    )
