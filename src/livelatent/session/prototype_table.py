"""Prototypes as a person sees them: known types and flags in one table of distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.session.state import PrototypeView

__all__ = ["Row", "drift_between", "drifts_between", "prototype_view", "similarity_order"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One type or flag."""

    name: str
    count: int
    radius: float
    medoid: str
    centroid: Float[ndarray, " latent"]
    spread: float = 0.0
    """Root mean squared distance of its cells to the centroid."""


Centroids = dict[str, Float[ndarray, " latent"]]


def prototype_view(
    types: Sequence[Row],
    flags: Sequence[Row],
    before: Centroids | None = None,
    since: tuple[str, Centroids] | None = None,
) -> PrototypeView:
    """The table of types and, last, flags; distances in units of the types' mean radius.

    Parameters
    ----------
    before
        Centroids by name at the last look, for the drift.
    since
        When, in words, and the centroids then, for each one's own drift.
    """
    rows = [*types, *flags]
    if not rows:
        return PrototypeView()
    from scipy.spatial.distance import cdist

    centroid = np.stack([row.centroid for row in rows]).astype(np.float64)
    # Not by broadcasting: 500 prototypes of 100 dimensions would take 200 MB.
    distance = cdist(centroid, centroid)
    radii = [row.radius for row in types if row.radius > 0] or [row.radius for row in flags if row.radius > 0]
    # Types of one cell each have no radius; distances are then in latent units.
    unit = float(np.mean(radii)) if radii else 1.0
    now = {row.name: row.centroid for row in types}
    own = {} if since is None else drifts_between(since[1], now)
    return PrototypeView(
        names=tuple(row.name for row in rows),
        counts=tuple(row.count for row in rows),
        radii=tuple(row.radius for row in rows),
        medoids=tuple(row.medoid for row in rows),
        order=similarity_order(distance),
        drift=None if before is None else drift_between(before, now),
        drifts=tuple(own.get(row.name) for row in rows),
        since="" if since is None else since[0],
        spreads=tuple(row.spread for row in rows),
        distance=distance / unit,
        centroid=centroid,
    )


def similarity_order(distance: Float[ndarray, "prototype prototype"]) -> tuple[int, ...]:
    """An order that puts similar prototypes side by side (average linkage, optimal leaf order)."""
    if len(distance) < 3:
        return tuple(range(len(distance)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    symmetric = (distance + distance.T) / 2
    np.fill_diagonal(symmetric, 0.0)
    tree = linkage(squareform(symmetric, checks=False), "average", optimal_ordering=len(distance) <= 200)
    return tuple(int(leaf) for leaf in leaves_list(tree))


def drift_between(before: Centroids, after: Centroids) -> float | None:
    """How far prototypes went, as a share of the mean distance between them; None where that is undefined."""
    drifts = drifts_between(before, after)
    return float(np.mean(list(drifts.values()))) if drifts else None


def drifts_between(before: Centroids, after: Centroids) -> dict[str, float]:
    """The same for each prototype that both have; none where fewer than two are, or all lie on one point."""
    names = sorted(before.keys() & after.keys())
    if len(names) < 2:
        return {}
    old, new = (np.stack([table[name] for name in names]).astype(np.float64) for table in (before, after))
    from scipy.spatial.distance import pdist

    between = pdist(new)
    if not between.mean() > 0:
        return {}
    return dict(zip(names, (np.linalg.norm(new - old, axis=1) / between.mean()).tolist(), strict=True))
