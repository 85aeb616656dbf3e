"""S_bio, S_batch and S_overall of several methods side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.integration import BATCH, BIO, IntegrationScores

__all__ = ["Overall", "overall"]

BIO_WEIGHT = 0.6


@dataclass(frozen=True)
class Overall:
    """Methods compared with one another: all of this changes with who is compared."""

    table: pd.DataFrame
    """A row per method, best first: `s_overall`, `s_bio`, `s_batch`, then each metric rescaled to 0 (the worst of the
    methods) to 1 (the best). Columns that have no value are not there."""
    left_out: dict[str, str]
    """Metrics and sums that have no value, and why."""


def overall(scores_by_method: Mapping[str, IntegrationScores]) -> Overall:
    """S_overall = 0.6 S_bio + 0.4 S_batch, each the mean of its metrics after min-max over the methods (2.33 to 2.35).

    Raises
    ------
    UndefinedMetricError
        If there are fewer than two methods, or they tie in every metric.

    Notes
    -----
    A metric that a method lacks, or in which all methods are equal, can't be rescaled: it is left out for all of them.
    Where no metric of a kind is left (with one batch, say), neither is S_overall. With two methods every metric is 0
    for one and 1 for the other, however close they are.
    """
    if len(scores_by_method) < 2:
        raise UndefinedMetricError(f"Min-max compares methods, so it needs at least 2; got {len(scores_by_method)}.")
    left_out: dict[str, str] = {}
    scaled: dict[str, pd.Series[float]] = {}
    for name in (*BIO, *BATCH):
        lacking = {method: s.left_out[name] for method, s in scores_by_method.items() if name in s.left_out}
        if lacking:
            method, reason = next(iter(lacking.items()))
            left_out[name] = f"{method} has none: {reason}"
            continue
        value = pd.Series({method: scores[name] for method, scores in scores_by_method.items()})
        if value.min() == value.max():
            left_out[name] = f"all {len(value)} methods have {value.iloc[0]:.4g}, so min-max is undefined."
        else:
            scaled[name] = (value - value.min()) / (value.max() - value.min())
    if not scaled:
        raise UndefinedMetricError("No metric tells these methods apart: " + "; ".join(left_out.values()))
    means: dict[str, pd.Series[float]] = {}
    for total, parts in (("s_bio", BIO), ("s_batch", BATCH)):
        kept = [scaled[name] for name in parts if name in scaled]
        if kept:
            means[total] = pd.Series(np.mean(kept, axis=0), index=kept[0].index)
        else:
            left_out[total] = f"none of {', '.join(parts)} is left."
    if len(means) == 2:
        means = {"s_overall": BIO_WEIGHT * means["s_bio"] + (1 - BIO_WEIGHT) * means["s_batch"], **means}
    else:
        left_out["s_overall"] = "it needs both s_bio and s_batch."
    table = pd.DataFrame({**means, **scaled})
    return Overall(table.sort_values(str(table.columns[0]), ascending=False, kind="stable"), left_out)
