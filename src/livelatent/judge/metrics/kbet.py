"""kBET: how often a neighbourhood's batches look like a draw from all cells of its label."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from livelatent.arrays import Int, ndarray
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.diffusion import diffusion_space
from livelatent.judge.metrics.knn_graph import knn_graph

__all__ = ["N_NEIGHBORS", "acceptance", "kbet"]

N_NEIGHBORS = 50
"""Of the graph whose links diffusion follows, each cell counted among its own."""
ALPHA = 0.05
MIN_CELLS = 10
FEWEST, MOST = 10, 70
# Pieces of a label's graph with fewer neighbourhoods than this, and labels with more of their cells in such, are not
# connected well enough to speak of mixing.
PIECE_NEIGHBORHOODS = 3
USABLE = 0.75


def kbet(links: sp.csr_matrix, label: Int[ndarray, " cell"], batch: Int[ndarray, " cell"]) -> float:
    """Mean over labels of the share of cells whose neighbourhood is not rejected at 5 %.

    Parameters
    ----------
    links
        What `fuzzy_graph` gives for 50 neighbours.

    Raises
    ------
    UndefinedMetricError
        If no label has ten cells and two batches.

    Notes
    -----
    Buettner et al. (2019), label by label as in Luecken et al. (2022) and scib-metrics: labels of one batch or of
    fewer than ten cells are left out. A neighbourhood is the cell itself and a quarter of a batch's mean number of
    cells, 10 to 70, the nearest by diffusion over the label's part of the graph. A label has 0 where a quarter of its
    cells lie in pieces of that part with less than three neighbourhoods. Two things differ from scib-metrics:
    neighbours are exact, and each piece is a diffusion space of its own, where there all share one, whose axes
    depend on rounding once an eigenvalue is 1 several times.
    """
    shares = []
    for code in np.unique(label):
        own = np.flatnonzero(label == code)
        count = np.unique(batch[own], return_counts=True)[1]
        if len(own) < MIN_CELLS or len(count) < 2:
            continue
        n_others = int(np.clip(count.mean() // 4, FEWEST, MOST))
        shares.append(_label_acceptance(links[own][:, own], batch[own], n_others))
    if not shares:
        raise UndefinedMetricError(f"kBET needs a label with {MIN_CELLS} cells and 2 batches; there is none.")
    return float(np.mean(shares))


def acceptance(
    index: Int[ndarray, "cell k"], batch: Int[ndarray, " cell"], expected: Int[ndarray, " batch"] | None = None
) -> float:
    """Share of neighbourhoods whose batch counts a chi-squared test does not tell from the expected ones.

    Parameters
    ----------
    batch
        Codes from 0.
    expected
        Cells of each batch, in any unit; None: those of the cells themselves.
    """
    from scipy.stats import chi2

    count = np.bincount(batch) if expected is None else expected
    n_cells, k = index.shape
    wanted = count / count.sum() * k
    flat = np.arange(n_cells)[:, None] * len(count) + batch[index]
    observed = np.bincount(flat.ravel(), minlength=n_cells * len(count)).reshape(n_cells, -1)
    statistic = ((observed - wanted) ** 2 / wanted).sum(axis=1)
    return float((chi2.sf(statistic, len(count) - 1) >= ALPHA).mean())


def _label_acceptance(links: sp.csr_matrix, batch: Int[ndarray, " cell"], n_others: int) -> float:
    """The acceptance of one label, 0 where its cells are not connected."""
    n_pieces, piece = connected_components(links, directed=False)
    size = np.bincount(piece)
    usable = [code for code in range(n_pieces) if n_pieces == 1 or size[code] >= PIECE_NEIGHBORHOODS * n_others]
    used = np.isin(piece, usable)
    if used.mean() < USABLE:
        return 0.0
    codes, within = np.unique(batch[used], return_inverse=True)
    if len(codes) < 2:
        return 0.0
    code_of = np.full(len(batch), -1)
    code_of[used] = within
    expected, accepted = np.bincount(within), 0.0
    for code in usable:
        own = np.flatnonzero(piece == code)
        index = knn_graph(diffusion_space(links[own][:, own]), n_others + 1).index
        accepted += acceptance(index, code_of[own], expected) * len(own)
    return accepted / float(used.sum())
