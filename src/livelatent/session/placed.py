"""Every cell on the map: those outside the panel lie where their nearest cells of the panel lie."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int
from livelatent.session.look import Predicted
from livelatent.session.panel import Panel

__all__ = ["MOST_PLACED", "Placed", "place", "position_of"]

MOST_PLACED = 2_000_000
"""More cells than this are thinned: stratified as the panel is, and without losing one that is flagged."""
NEIGHBORS = 5
REACH = 0.05
"""Neighbours that lie further than this from the nearest one, as a share of the map's width, do not count: between two
islands a mean would put cells into the sea."""
PIECE_CELLS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """All cells, on the layout with this number."""

    layout: int
    panel: Panel
    xy: Float[ndarray, "cell 2"]
    predicted: Predicted


def position_of(
    latent: Float[ndarray, "cell latent"],
    panel_latent: Float[ndarray, "panel latent"],
    panel_xy: Float[ndarray, "panel 2"],
) -> Float[ndarray, "cell 2"]:
    """Where cells lie: the mean of their five nearest cells of the panel, nearer ones counting more.

    A cell of the panel lies exactly where it is.
    """
    from livelatent.judge.neighbors import nearest

    distance, index = nearest(latent, panel_latent, min(NEIGHBORS, len(panel_latent)))
    near = panel_xy[index].astype(np.float64)
    width = float(np.ptp(panel_xy, axis=0).max()) or 1.0
    is_near = np.linalg.norm(near - near[:, :1], axis=2) <= REACH * width
    # Distances come from float32 differences: what is this near is the cell itself.
    own = distance[:, 0] <= 1e-6 * max(float(np.abs(panel_latent).max(initial=0.0)), 1e-12)
    weight = np.where(is_near, 1 / np.maximum(distance, 1e-12), 0.0)
    weight[own] = 0.0
    weight[own, 0] = 1.0
    xy = (near * weight[:, :, None]).sum(axis=1) / weight.sum(axis=1, keepdims=True)
    return np.asarray(xy, np.float32)


def place(
    panel: Panel,
    embed: Callable[[bool, Int[ndarray, " cell"]], Float[ndarray, "cell latent"]],
) -> Iterator[tuple[int, bool, Int[ndarray, " cell"], Float[ndarray, "cell latent"]]]:
    """Go through the cells of a panel piece by piece: (first cell, whether of the query, rows, latent), in its order.

    Parameters
    ----------
    embed
        The latent of sorted rows of the atlas (False) or of the query (True).
    """
    start = 0
    for is_query, rows in ((False, panel.rows), (True, panel.query_rows)):
        for first in range(0, len(rows), PIECE_CELLS):
            piece = rows[first : first + PIECE_CELLS]
            yield start, is_query, piece, embed(is_query, piece)
            start += len(piece)
