"""Marker genes by Welch's t-test, from sums that can be added up chunk by chunk and kept with a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from livelatent.arrays import Float, Int, ndarray

__all__ = ["GeneSums", "gene_sums", "marker_genes", "marker_table"]

# A marker must be visible, not only certain: with thousands of cells, every difference is certain.
MIN_LOG2_FOLD = 1.0
MAX_ADJUSTED_P = 0.05
N_MARKERS = 4


@dataclass(frozen=True)
class GeneSums:
    """Cells, sums and sums of squares of log expression, per label."""

    n_cells: Int[ndarray, " label"]
    total: Float[ndarray, "label gene"]
    squares: Float[ndarray, "label gene"]

    def __add__(self, other: "GeneSums") -> "GeneSums":
        return GeneSums(self.n_cells + other.n_cells, self.total + other.total, self.squares + other.squares)

    def genes(self, chosen: Int[ndarray, " chosen"]) -> "GeneSums":
        """The same for some genes."""
        return GeneSums(self.n_cells, self.total[:, chosen], self.squares[:, chosen])

    def of(self, code: int) -> tuple[int, Float[ndarray, " gene"], Float[ndarray, " gene"]]:
        """One label's number of cells, means and variances (with n - 1)."""
        n = int(self.n_cells[code])
        mean = self.total[code] / max(n, 1)
        variance = (self.squares[code] - n * mean**2) / max(n - 1, 1)
        return n, mean, np.maximum(variance, 0)


def gene_sums(x: Any, label: Int[ndarray, " cell"], n_labels: int) -> GeneSums:
    """Sums over the cells of each label; -1 is left out. `x` is dense or scipy sparse, [cell, gene]."""
    used = np.flatnonzero(label >= 0)
    member = sp.csr_matrix((np.ones(len(used)), (label[used], used)), shape=(n_labels, len(label)))
    x = sp.csr_matrix(x, dtype=np.float64)
    squared = x.multiply(x)
    return GeneSums(np.bincount(label[used], minlength=n_labels), (member @ x).toarray(), (member @ squared).toarray())


def marker_table(group: GeneSums, code: int, rest: GeneSums, rest_code: int, genes: Any) -> pd.DataFrame:
    """Welch's t-test of one group's cells against another's, gene by gene, best first.

    Returns
    -------
    Columns gene, t, p, p_adjusted (Benjamini and Hochberg), log2_fold, by decreasing t.

    Raises
    ------
    ValueError
        If either group has fewer than two cells.

    Notes
    -----
    The same numbers as scanpy's `rank_genes_groups(method="t-test")`, whose fold change is that of expm1 of mean logs.
    """
    from scipy.stats import false_discovery_control, ttest_ind_from_stats

    n, mean, variance = group.of(code)
    n_rest, mean_rest, variance_rest = rest.of(rest_code)
    if min(n, n_rest) < 2:
        raise ValueError(f"a t-test compares groups of at least 2 cells; got {n} and {n_rest}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        t, p = ttest_ind_from_stats(
            mean, np.sqrt(variance), n, mean_rest, np.sqrt(variance_rest), n_rest, equal_var=False
        )
    # A gene without variance in either group, the all-zero one: no difference to test.
    t, p = np.where(np.isfinite(t), t, 0.0), np.where(np.isfinite(t), p, 1.0)
    table = pd.DataFrame(
        {
            "gene": np.asarray(genes, dtype=object),
            "t": t,
            "p": p,
            "p_adjusted": false_discovery_control(p),
            "log2_fold": np.log2((np.expm1(mean) + 1e-9) / (np.expm1(mean_rest) + 1e-9)),
        }
    )
    return table.sort_values("t", ascending=False, kind="stable", ignore_index=True)


def marker_genes(table: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The genes most surely higher, and most surely lower, by at least a factor of two."""
    sure = table[table["p_adjusted"] <= MAX_ADJUSTED_P]
    higher = sure[(sure["t"] > 0) & (sure["log2_fold"] >= MIN_LOG2_FOLD)]["gene"].head(N_MARKERS)
    lower = sure[(sure["t"] < 0) & (sure["log2_fold"] <= -MIN_LOG2_FOLD)]["gene"].tail(N_MARKERS)[::-1]
    return tuple(map(str, higher)), tuple(map(str, lower))
