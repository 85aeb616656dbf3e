"""The cells shown: a stratified panel of two atlases, and layouts of it that do not jump about."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Bool, Float, Int

__all__ = ["Panel", "align", "choose_panel", "layout_sha256", "pca_layout", "place_new", "shares"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Rows of the run's atlas and of the query that are embedded and drawn, in that order."""

    number: int
    rows: Int[ndarray, " cell"]
    query_rows: Int[ndarray, " query_cell"]

    def __len__(self) -> int:
        return len(self.rows) + len(self.query_rows)

    @property
    def is_query(self) -> ndarray:
        """One 0 or 1 per cell of the panel."""
        return np.repeat(np.array([0, 1]), [len(self.rows), len(self.query_rows)])

    @property
    def cell(self) -> ndarray:
        """The row of each cell in its own atlas."""
        return np.concatenate([self.rows, self.query_rows])


def shares(sizes: Int[ndarray, " group"], n_cells: int) -> Int[ndarray, " group"]:
    """How many cells to take of each group: small groups whole, all others the same number (give or take 1).

    Examples
    --------
    >>> shares(np.array([5, 100, 1000]), 65).tolist()
    [5, 30, 30]
    """
    taken = np.zeros_like(sizes)
    left = min(n_cells, int(sizes.sum()))
    open_groups = np.flatnonzero(sizes)
    while left and len(open_groups):
        each = left // len(open_groups)
        small = open_groups[sizes[open_groups] <= each]
        if len(small):
            taken[small] = sizes[small]
            left -= int(sizes[small].sum())
            open_groups = np.setdiff1d(open_groups, small)
            continue
        taken[open_groups] = each
        taken[open_groups[: left - each * len(open_groups)]] += 1
        break
    return taken


def choose_panel(
    label: Int[ndarray, " cell"],
    n_query: int = 0,
    *,
    n_cells: int = 20_000,
    shown: Bool[ndarray, " cell"] | None = None,
    shown_query: Bool[ndarray, " query_cell"] | None = None,
    keep: Int[ndarray, " kept"] | None = None,
    keep_query: Int[ndarray, " kept_query"] | None = None,
    number: int = 1,
) -> Panel:
    """Choose which cells to show: half of the panel are cells without a label and query cells, where the unknown hides.

    They get more where labelled types, which share out the rest, need less.

    Parameters
    ----------
    label
        Codes of the run's atlas; -1 is "no label".
    shown, shown_query
        Cells that may be shown: those that QC keeps. None: all.
    keep, keep_query
        Cells that must be shown (flagged ones), counted within `n_cells` where they fit.

    Returns
    -------
    A panel with at least every kept cell and at most `n_cells` others.
    """
    random = np.random.default_rng(0)
    own_rows = np.arange(len(label)) if shown is None else np.flatnonzero(shown)
    own_query = np.arange(n_query) if shown_query is None else np.flatnonzero(shown_query)
    n_query = len(own_query)
    unlabelled = own_rows[label[own_rows] < 0]
    labelled = own_rows[label[own_rows] >= 0]
    codes = label[labelled]
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, np.int64)
    n_unknown = len(unlabelled) + n_query
    n_preferred = min(n_unknown, max(n_cells // 2, n_cells - int(sizes.sum())))
    of_unlabelled, of_query = shares(np.array([len(unlabelled), n_query]), n_preferred)
    rows = [_some(unlabelled, int(of_unlabelled), random)]
    for code, n_taken in enumerate(shares(sizes, n_cells - n_preferred)):
        rows.append(_some(labelled[codes == code], int(n_taken), random))
    query_rows = _some(own_query, int(of_query), random)
    return Panel(
        number=number,
        rows=_union(np.concatenate(rows), keep),
        query_rows=_union(query_rows, keep_query),
    )


def _some(cells: ndarray, n_taken: int, random: np.random.Generator) -> ndarray:
    return cells if n_taken >= len(cells) else random.choice(cells, n_taken, replace=False)


def _union(rows: ndarray, keep: ndarray | None) -> ndarray:
    return np.unique(rows if keep is None else np.concatenate([rows, keep])).astype(np.int64)


def align(
    xy: Float[ndarray, "cell 2"],
    anchors: Int[ndarray, " anchor"],
    onto: Float[ndarray, "anchor 2"],
) -> tuple[Float[ndarray, "cell 2"], float]:
    r"""Turn, mirror, scale and shift a layout so that its anchors lie where they lay.

    Returns
    -------
    The aligned layout, and how far anchors still moved: r.m.s., as a share of their r.m.s. spread.

    Notes
    -----
    Orthogonal Procrustes (Schönemann 1966). The scale is the ratio of the two spreads, not the least-squares
    one: that one is below 1 whenever layouts differ, so a long run's map would shrink to a point.
    """
    moving = xy[anchors].astype(np.float64)
    target = onto.astype(np.float64)
    moving_mean, target_mean = moving.mean(axis=0), target.mean(axis=0)
    moving, target = moving - moving_mean, target - target_mean
    moving_spread, target_spread = np.sqrt((moving**2).sum()), np.sqrt((target**2).sum())
    if moving_spread == 0 or target_spread == 0:
        return (xy - moving_mean + target_mean).astype(np.float32), 0.0
    left, _, right = np.linalg.svd(moving.T @ target)
    turn = (left @ right) * (target_spread / moving_spread)
    aligned = (xy - moving_mean) @ turn + target_mean
    moved = np.sqrt((((moving @ turn) - target) ** 2).sum()) / target_spread
    return aligned.astype(np.float32), float(moved)


def pca_layout(latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell 2"]:
    """The first two principal components, with a spread of 10: a first layout, and one that can't fail."""
    centred = latent.astype(np.float64) - latent.mean(axis=0) if len(latent) else latent.astype(np.float64)
    xy = np.zeros((len(latent), 2))
    if len(latent) > 1:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        axes = vectors[:, ::-1][:, :2]
        # An eigenvector's sign is arbitrary; the larger side is made positive so that two calls agree.
        axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
        xy[:, : axes.shape[1]] = centred @ axes
    spread = np.abs(xy).max(initial=0.0)
    return (xy * (10.0 / spread if spread else 1.0)).astype(np.float32)


def place_new(
    latent: Float[ndarray, "cell latent"],
    known: Int[ndarray, " known"],
    xy: Float[ndarray, "known 2"],
) -> Float[ndarray, "cell 2"]:
    """Start positions where only `known` cells have one: all others start at their nearest known cell's."""
    result = np.empty((len(latent), 2), np.float32)
    result[known] = xy
    others = np.setdiff1d(np.arange(len(latent)), known)
    near = latent[known]
    square = (near**2).sum(axis=1)
    for chunk in np.array_split(others, max(1, len(others) // 512)):
        nearest = (square - 2 * latent[chunk] @ near.T).argmin(axis=1)
        result[chunk] = xy[nearest]
    return result


def layout_sha256(panel: Panel, xy: Float[ndarray, "cell 2"]) -> str:
    """What a lasso was drawn on: the panel's cells and their positions."""
    digest = hashlib.sha256(np.ascontiguousarray(panel.cell, "<i8").tobytes())
    digest.update(panel.is_query.astype("u1").tobytes())
    digest.update(np.ascontiguousarray(xy, "<f4").tobytes())
    return digest.hexdigest()
