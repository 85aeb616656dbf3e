"""All metrics of one latent, over the same cells and from one kNN graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import LabelError, UndefinedMetricError
from livelatent.judge.expression import stratified_rows
from livelatent.judge.metrics.cell_cycle import cell_cycle
from livelatent.judge.metrics.clustering import RESOLUTIONS, best_clustering, leiden
from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.graph_connectivity import graph_connectivity
from livelatent.judge.metrics.isolated_labels import isolated_asw, isolated_f1, isolated_labels
from livelatent.judge.metrics.kbet import kbet
from livelatent.judge.metrics.knn_graph import knn_graph
from livelatent.judge.metrics.lisi import clisi, ilisi
from livelatent.judge.metrics.pcr import pcr
from livelatent.judge.metrics.silhouette import silhouette_samples
from livelatent.judge.metrics.silhouette_batch import silhouette_batch
from livelatent.judge.metrics.silhouette_label import silhouette_label
from livelatent.judge.metrics.unintegrated import Unintegrated
from livelatent.threads import one_thread

__all__ = ["BATCH", "BESIDE", "BIO", "IntegrationScores", "score_latent"]

BIO = ("silhouette_label", "nmi", "ari", "cell_cycle", "isolated_f1", "isolated_asw")
"""What S_bio averages (equation 2.34, docs/equations.md)."""
BATCH = ("silhouette_batch", "pcr", "graph_connectivity")
"""What S_batch averages (2.33)."""
BESIDE = ("ilisi", "clisi", "kbet")
"""Reported beside them, in no average."""
MAX_CELLS = 50_000
# As in scib-metrics, each cell counted among its own; the graph has 90, for LISI.
CLUSTER_NEIGHBORS = 15
KBET_NEIGHBORS = 50
SMALLEST = 1e-12


@dataclass(frozen=True)
class IntegrationScores:
    """What the metrics say of one latent. Each lies in 0 to 1 (ARI may be a little below 0); more is better."""

    values: dict[str, float]
    left_out: dict[str, str]
    """Metrics that have no value here, and why."""
    n_cells: int
    """Cells that all metrics are of."""
    n_unlabelled: int
    """Cells without a label, which enter none."""
    n_sampled_out: int
    """Labelled cells beyond `max_cells`, left out by a draw that keeps rare labels whole."""
    resolution: float
    """Of the clustering that NMI and ARI are of."""
    isolated: tuple[str, ...]
    """Labels found in the fewest batches: all of them where each is found in as many, none with one batch."""

    def __getitem__(self, name: str) -> float:
        if name in self.left_out:
            raise UndefinedMetricError(f"{name} has no value here: {self.left_out[name]}")
        return self.values[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return {**vars(self), "isolated": list(self.isolated)}


def score_latent(
    latent: Any,
    label: Sequence[Any] | ndarray,
    batch: Sequence[Any] | ndarray | None = None,
    *,
    before: Unintegrated | None = None,
    max_cells: int = MAX_CELLS,
    resolutions: Sequence[float] = RESOLUTIONS,
    seed: int = 0,
) -> IntegrationScores:
    """How well a latent keeps types apart and batches together.

    Parameters
    ----------
    latent
        Numbers, [cell, dimension]: an array, a DataFrame or nested lists.
    label, batch
        Codes or names, one per cell; a label below 0 or None is no label, a batch of None is one of its own. Without
        batches, what compares them is left out.
    before
        The same cells' expression, from `unintegrated`; without it PCR and cell-cycle conservation are left out.
    max_cells
        More labelled cells than this are sampled, stratified by label, rare labels whole: the same cells for every
        latent with these labels and this seed.

    Raises
    ------
    LabelError
        If fewer than two labels have a cell, or all of them have one cell only.
    UndefinedMetricError
        If all cells lie on one point.
    ValueError
        If the latent is no table of finite numbers, [cell, dimension]; if labels, batches and expression are not of as
        many cells; or if `max_cells` can't hold two cells of each label.

    Notes
    -----
    Section 2.4 of Andrekson (2024; docs/equations.md), after Luecken et al. (Nature Methods 2022). Where it leaves a
    choice, the settings are those of scib-metrics; what differs from it or from scib stands in the metric's own Notes
    and in `docs/decisions.md`.
    """
    points = latent_points(latent)
    n_cells = len(points)
    codes, names = label_codes(label)
    batches = (
        np.zeros(n_cells, np.int64) if batch is None else pd.factorize(np.asarray(batch), use_na_sentinel=False)[0]
    )
    for what, size in (("labels", len(codes)), ("batches", len(batches)), ("expression", n_cells_of(before, n_cells))):
        if size != n_cells:
            raise ValueError(f"a latent of {n_cells:,} cells was given with the {what} of {size:,}.")
    if not len(resolutions) or not all(0 < one < np.inf for one in resolutions):
        raise ValueError(f"resolutions are positive numbers, at least one; got {tuple(resolutions)}.")
    chosen = scored_cells(codes, max_cells, seed=seed)
    points = _checked(points[chosen])
    isolated, metrics, resolution = _metrics(
        points, codes[chosen], batches[chosen], before.at(chosen) if before else Unintegrated(), resolutions, seed
    )
    values, left_out = {}, {}
    with one_thread():
        for name in (*BIO, *BATCH, *BESIDE):
            try:
                values[name] = metrics[name]()
            except UndefinedMetricError as error:
                left_out[name] = str(error)
    n_unlabelled = int((codes < 0).sum())
    return IntegrationScores(
        values=values,
        left_out=left_out,
        n_cells=len(chosen),
        n_unlabelled=n_unlabelled,
        n_sampled_out=n_cells - n_unlabelled - len(chosen),
        resolution=resolution,
        isolated=tuple(names[code] for code in isolated),
    )


def latent_points(latent: object) -> Float[ndarray, "cell latent"]:
    """What was given, as an array of numbers [cell, dimension].

    Raises
    ------
    ValueError
        If it is no such table.
    """
    values = np.asarray(latent)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(
            f"a latent is a table of real numbers, [cell, dimension]; got {type(latent).__name__} of shape "
            f"{getattr(latent, 'shape', values.shape)} and type {values.dtype}."
        )
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def label_codes(label: Sequence[Any] | ndarray) -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
    """A code from 0 for each cell, -1 for no label, and the names that the codes stand for."""
    values = np.asarray(label)
    if values.ndim != 1:
        raise ValueError(f"labels are one for each cell, along one axis; got an array of shape {values.shape}.")
    if values.dtype.kind in "iuf":
        known = values >= 0  # of NaN it is false
        found = np.unique(values[known])
        codes = np.searchsorted(found, np.where(known, values, found[0] if found.size else 0))
        return np.where(known, codes, -1).astype(np.int64), tuple(
            str(int(code)) if float(code).is_integer() else str(code) for code in found
        )
    codes, names = pd.factorize(values, sort=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)


def scored_cells(label: Int[ndarray, " cell"], max_cells: int = MAX_CELLS, *, seed: int = 0) -> Int[ndarray, " chosen"]:
    """The cells that metrics are of: the labelled, or a draw of them that is stratified and keeps rare labels whole.

    Raises
    ------
    LabelError
        If fewer than two labels have a cell, or each of them has one only.
    """
    count = np.bincount(label[label >= 0])
    if (count > 0).sum() < 2 or count.max() < 2:
        raise LabelError(
            "Metrics compare labels, so they need at least two labels, one with two cells; got "
            f"{int((count > 0).sum())} labels and {int(count.sum())} labelled cells."
        )
    n_labels = int((count > 0).sum())
    if max_cells < min(2 * n_labels, int(count.sum())):
        raise ValueError(
            f"max_cells must leave room for two cells of each of the {n_labels} labels, {2 * n_labels} in all; got "
            f"{max_cells}."
        )
    return np.asarray(stratified_rows(label, max_cells, seed=seed), np.int64)


def n_cells_of(before: Unintegrated | None, n_cells: int) -> int:
    """Cells that the expression is of; as many as wanted where there is none."""
    return n_cells if before is None or before.pcs is None else len(before.pcs)


def _checked(latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell latent"]:
    """The latent as float32, if its cells do not all lie on one point."""
    if not np.isfinite(latent).all():
        n_bad = int((~np.isfinite(latent)).any(axis=1).sum())
        raise ValueError(f"the latent must be finite; {n_bad:,} of {len(latent):,} cells have NaN or infinite values.")
    # No metric depends on the scale of a latent, but squares of very large or small numbers are none in float32.
    largest = float(np.abs(latent).max(initial=0.0))
    is_usual = SMALLEST < largest < 1 / SMALLEST or largest == 0
    points = np.ascontiguousarray(latent if is_usual else np.asarray(latent, np.float64) / largest, np.float32)
    if not (points != points[0]).any():
        raise UndefinedMetricError(
            f"All {len(points):,} cells lie on one point of the latent: there is nothing to judge."
        )
    return points


def _metrics(
    points: Float[ndarray, "cell latent"],
    label: Int[ndarray, " cell"],
    batch: Int[ndarray, " cell"],
    before: Unintegrated,
    resolutions: Sequence[float],
    seed: int,
) -> tuple[Int[ndarray, " isolated"], dict[str, Callable[[], float]], float]:
    """Isolated labels, every metric, not yet called, and the best resolution; what metrics share is computed here."""
    with one_thread():
        graph = knn_graph(points)
        near = graph.first(CLUSTER_NEIGHBORS)
        links = fuzzy_graph(near)
        clusterings = [leiden(links, resolution, seed=seed) for resolution in resolutions]
        width = silhouette_samples(points, label)
    best = best_clustering(clusterings, label, resolutions)
    isolated = isolated_labels(label, batch)
    return (
        isolated,
        {
            "nmi": lambda: best.nmi,
            "ari": lambda: best.ari,
            "silhouette_label": lambda: silhouette_label(width),
            "isolated_asw": lambda: isolated_asw(width, label, isolated),
            "isolated_f1": lambda: isolated_f1(clusterings, label, isolated),
            "cell_cycle": lambda: cell_cycle(before, points),
            "silhouette_batch": lambda: silhouette_batch(points, label, batch),
            "pcr": lambda: pcr(before.pcs, points, batch),
            "graph_connectivity": lambda: graph_connectivity(near, label),
            "ilisi": lambda: ilisi(graph, batch),
            "clisi": lambda: clisi(graph, label),
            "kbet": lambda: kbet(fuzzy_graph(graph.first(KBET_NEIGHBORS)), label, batch),
        },
        best.resolution,
    )
