"""A space in which Euclidean distance is diffusion distance over a graph."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from livelatent.arrays import Float, ndarray

__all__ = ["diffusion_space"]

N_COMPONENTS = 100
# Up to here all eigenvectors at once are quicker than the largest by iteration.
DENSE_CELLS = 400


def diffusion_space(links: sp.csr_matrix) -> Float[ndarray, "cell component"]:
    """Coordinates of the cells of one connected graph, all numbers of steps taken together.

    Notes
    -----
    Density-normalised transitions (Coifman et al. 2005, alpha 1), their 100 eigenvectors of largest |eigenvalue| e,
    each times e / (1 - e) (Haghverdi et al. 2016), as in scib-metrics. The first, of eigenvalue 1, is the stationary
    state and separates no cells: it is left out, where scib-metrics keeps it, times 1 or, where rounding leaves e a
    little below 1, times ten million.
    """
    degree = np.asarray(links.sum(axis=0)).ravel()
    balanced = sp.diags_array(1 / degree) @ links @ sp.diags_array(1 / degree)
    root = np.sqrt(np.asarray(balanced.sum(axis=0)).ravel())
    transition = sp.csr_matrix(sp.diags_array(1 / root) @ balanced @ sp.diags_array(1 / root))
    n_cells = transition.shape[0]
    n_wanted = min(N_COMPONENTS, n_cells - 1)
    if n_cells <= DENSE_CELLS:
        value, vector = np.linalg.eigh(transition.toarray())
        largest = np.argsort(-np.abs(value), kind="stable")[:n_wanted]
        value, vector = value[largest], vector[:, largest]
    else:
        start = np.random.default_rng(0).standard_normal(n_cells)
        value, vector = eigsh(transition, k=n_wanted, which="LM", v0=start)
    moving = value < value.max()
    return np.asarray(vector[:, moving] * (value[moving] / (1 - value[moving])), np.float32)
