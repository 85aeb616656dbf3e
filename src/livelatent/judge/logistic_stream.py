"""Multinomial logistic regression on more cells than fit in memory: each step is one pass over all of them."""

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import map_cells
from livelatent.errors import LabelError
from livelatent.judge.expression import REFERENCE_CELLS, chosen_genes, log_genes, stratified_rows
from livelatent.judge.logistic import LOG_ZERO, Logistic, fit_logistic, log_softmax
from livelatent.judge.projection import Projection
from livelatent.progress import CellProgress
from livelatent.threads import one_thread

__all__ = ["fit_gene_logistic", "fit_logistic_passes"]

# scikit-learn's own: the largest slope of the mean loss at which it stops.
TOLERANCE = 1e-4
MAX_PASSES = 300

Loss = tuple[float, Float[ndarray, "present dim"], Float[ndarray, " present"]]
"""Summed cross-entropy of some cells, and its slopes in coefficients and intercepts."""


def fit_gene_logistic(
    atlas: Atlas,
    rows: Rows,
    genes: Int[ndarray, " gene"],
    mean_total: float,
    *,
    projection: Projection | None = None,
    max_in_memory: int = REFERENCE_CELLS,
    seed: int = 0,
    progress: CellProgress | None = None,
) -> Logistic:
    """Regress the labels of an atlas on log expression, or on its principal components, with C = 1, at any size.

    Parameters
    ----------
    rows
        Cells to learn from; those without a label are left out.
    genes
        Places in the store, -1 for a gene that it lacks.
    projection
        Regress on these components of the genes.
    max_in_memory
        Up to so many cells are held in memory and fitted by scikit-learn. More are passed over, beginning at the
        optimum of so many, stratified by type.

    Raises
    ------
    LabelError
        If no cell has a label.
    """
    label, n_labels = np.asarray(atlas.label, np.int64), len(atlas.label_names)
    rows = rows[label[rows] >= 0]
    held = rows[stratified_rows(label[rows], max_in_memory, seed=seed)]
    x = log_genes(atlas, held, genes, mean_total)
    first = fit_logistic(
        x if projection is None else projection(x),
        label[held],
        n_labels,
        # The mean loss against the same penalty as of all cells: so the start is near their optimum.
        inverse_penalty=len(rows) / max(len(held), 1),
    )
    if len(held) == len(rows):
        return first
    del x

    def passes(function: Callable[[sp.csr_matrix | ndarray, Int[ndarray, " cell"]], Loss]) -> Iterable[Loss]:
        def on_chunk(counts: sp.csr_matrix, chunk: Rows) -> Loss:
            x = chosen_genes(counts, atlas.total[chunk], genes, mean_total)
            with one_thread():
                return function(x if projection is None else projection(x), label[chunk])

        return map_cells(on_chunk, atlas, rows, progress=progress, what="logistic regression")

    return fit_logistic_passes(passes, np.bincount(label[rows], minlength=n_labels), first)


def fit_logistic_passes(
    passes: Callable[[Callable[[sp.csr_matrix | ndarray, Int[ndarray, " cell"]], Loss]], Iterable[Loss]],
    count: Int[ndarray, " label"],
    start: Logistic,
    *,
    tolerance: float = TOLERANCE,
    max_passes: int = MAX_PASSES,
) -> Logistic:
    """The optimum of scikit-learn's objective with C = 1, from sums over cells.

    Parameters
    ----------
    passes
        Calls the function that it is given on (x, label) of each chunk of all cells, and gives the results.
    count
        Cells of each label; a label without one keeps its probability at 0 to rounding.
    tolerance
        Ends where no slope of the mean loss is larger.

    Notes
    -----
    Minimises the summed cross-entropy plus half the squared coefficients, intercepts unpenalised, by L-BFGS (scipy)
    from `start`. The objective is strictly convex in the coefficients, so where it starts changes the passes needed and
    nothing else. Each evaluation is one pass; nothing but sums is kept between chunks. Of two labels the first has
    logit 0, as in scikit-learn: two rows would share the penalty and end elsewhere.
    """
    from scipy.optimize import minimize

    present = np.flatnonzero(count > 0)
    if not present.size:
        raise LabelError("a logistic regression needs labelled cells; none of these has a label.")
    if len(present) == 1:
        return start
    n_cells, n_dims = int(count.sum()), start.coef.shape[1]
    code = np.full(len(count), -1, np.int64)
    code[present] = np.arange(len(present))
    # Of two labels the first has logit 0, as in scikit-learn.
    free = present[1:] if len(present) == 2 else present

    def unpacked(flat: Float[ndarray, " parameter"]) -> tuple[ndarray, ndarray]:
        table = flat.reshape(len(free), n_dims + 1)
        coef, intercept = table[:, :n_dims], table[:, n_dims]
        if len(present) == 2:
            coef, intercept = np.vstack([np.zeros(n_dims), coef[0]]), np.array([0.0, intercept[0]])
        return coef, intercept

    def objective(flat: Float[ndarray, " parameter"]) -> tuple[float, Float[ndarray, " parameter"]]:
        coef, intercept = unpacked(flat)

        def chunk_loss(x: sp.csr_matrix | ndarray, label: Int[ndarray, " cell"]) -> Loss:
            own = code[label]
            log_proba = log_softmax(np.asarray(x @ coef.T, np.float64) + intercept)
            cells = np.arange(len(own))
            wrong = np.exp(log_proba)
            wrong[cells, own] -= 1
            return -float(log_proba[cells, own].sum()), np.asarray((x.T @ wrong).T), wrong.sum(axis=0)

        loss, slope, slope_0 = 0.0, np.zeros((len(present), n_dims)), np.zeros(len(present))
        for part, part_slope, part_slope_0 in passes(chunk_loss):
            loss, slope, slope_0 = loss + part, slope + part_slope, slope_0 + part_slope_0
        own = slice(len(present) - len(free), None)
        table = np.concatenate([slope[own] + coef[own], slope_0[own, None]], axis=1)
        return (loss + 0.5 * float((coef[own] ** 2).sum())) / n_cells, table.ravel() / n_cells

    # A shift of all logits changes no probability; scikit-learn's rows sum to 0 at the optimum, and so do ours.
    begin = np.concatenate([start.coef[free], start.intercept[free, None]], axis=1).astype(np.float64).ravel()
    fitted = minimize(
        objective,
        begin,
        jac=True,
        method="L-BFGS-B",
        options={"maxfun": max_passes, "maxiter": max_passes, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps},
    )
    coef, intercept = np.zeros((len(count), n_dims), np.float32), np.full(len(count), LOG_ZERO)
    coef[present], intercept[present] = unpacked(fitted.x)
    return Logistic(coef, intercept)
