"""Marker genes by Welch's t-test, from sums that can be added up chunk by chunk and kept with a model."""

from typing import Any

import numpy as np
import pandas as pd

from livelatent.arrays import Float, ndarray
from livelatent.atlas.group_sums import GeneSums
from livelatent.errors import LabelError

__all__ = ["gene_table", "log2_fold", "marker_genes", "marker_table"]

# A marker must be visible, not only certain: with thousands of cells, every difference is certain.
MIN_LOG2_FOLD = 1.0
MAX_ADJUSTED_P = 0.05
N_MARKERS = 4


def marker_table(group: GeneSums, code: int, rest: GeneSums, rest_code: int, genes: Any) -> pd.DataFrame:
    """Welch's t-test of one group's cells against another's, gene by gene, best first.

    Returns
    -------
    What `gene_table` gives.

    Raises
    ------
    LabelError
        If either group has fewer than two cells.

    Notes
    -----
    The same numbers as scanpy's `rank_genes_groups(method="t-test")`.
    """
    from scipy.stats import ttest_ind_from_stats

    n, n_rest = int(group.n_cells[code]), int(rest.n_cells[rest_code])
    if min(n, n_rest) < 2:
        raise LabelError(f"a t-test compares groups of at least 2 cells; got {n} and {n_rest}.")
    mean, mean_rest = group.mean[code], rest.mean[rest_code]
    deviation, deviation_rest = np.sqrt(group.variance[code]), np.sqrt(rest.variance[rest_code])
    with np.errstate(divide="ignore", invalid="ignore"):
        score, p = ttest_ind_from_stats(mean, deviation, n, mean_rest, deviation_rest, n_rest, equal_var=False)
    # A gene without variance in either group, the all-zero one: no difference to test.
    score, p = np.where(np.isfinite(score), score, 0.0), np.where(np.isfinite(score), p, 1.0)
    return gene_table(genes, score, p, log2_fold(mean, mean_rest))


def log2_fold(mean: Float[ndarray, " gene"], mean_rest: Float[ndarray, " gene"]) -> Float[ndarray, " gene"]:
    """Fold change of expm1 of mean logs, as scanpy gives it."""
    return np.asarray(np.log2((np.expm1(mean) + 1e-9) / (np.expm1(mean_rest) + 1e-9)))


def gene_table(
    genes: Any, score: Float[ndarray, " gene"], p: Float[ndarray, " gene"], fold: Float[ndarray, " gene"]
) -> pd.DataFrame:
    """Tests of one group under scanpy's names, by decreasing score.

    Returns
    -------
    Columns names, scores, logfoldchanges (base 2), pvals, pvals_adj (Benjamini and Hochberg).
    """
    from scipy.stats import false_discovery_control

    table = pd.DataFrame(
        {
            "names": np.asarray(genes, dtype=object),
            "scores": score,
            "logfoldchanges": fold,
            "pvals": p,
            "pvals_adj": false_discovery_control(p),
        }
    )
    return table.sort_values("scores", ascending=False, kind="stable", ignore_index=True)


def marker_genes(table: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The genes most surely higher, and most surely lower, by at least a factor of two."""
    sure = table[table["pvals_adj"] <= MAX_ADJUSTED_P]
    higher = sure[(sure["scores"] > 0) & (sure["logfoldchanges"] >= MIN_LOG2_FOLD)]["names"].head(N_MARKERS)
    lower = sure[(sure["scores"] < 0) & (sure["logfoldchanges"] <= -MIN_LOG2_FOLD)]["names"].tail(N_MARKERS)[::-1]
    return tuple(map(str, higher)), tuple(map(str, lower))
