"""The map over time: one layout after the other, each turned onto the last."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.session.layout import FIRST_EPOCHS, NEXT_EPOCHS, LayoutError, LayoutWorker
from livelatent.session.panel import Panel, align, layout_sha256, pca_layout, place_new

__all__ = ["Layout", "MovingMap", "agreement", "n_epochs_within"]

SAME_SHAPE = 0.8
"""Below this agreement with the latent of the last layout from scratch, a layout starts afresh: fifty epochs
from old positions can't join a type that the untrained network had scattered."""
COMPARED_CELLS = 300
FIXED_EPOCHS = 23
"""What finding neighbours costs, in epochs: of 20,000 cells 1.1 s of CPU beside 0.05 s an epoch (docs/decisions.md)."""
USUAL_S = 1.5e-6
"""CPU of an epoch, per cell, until a layout has been measured here."""
FEWEST_EPOCHS = 15
"""From scratch; fewer would not pull a type together."""
FEWEST_NEXT = 10
"""From the last layout."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where each cell of a panel lies."""

    number: int
    panel: Panel
    xy: Float[ndarray, "cell 2"]
    moved: float | None
    note: str = ""
    """Why this is not a UMAP, if it is not."""

    @property
    def sha256(self) -> str:
        """What a lasso on this layout refers to."""
        return layout_sha256(self.panel, self.xy)


class MovingMap:
    """Makes each layout from the last one, in the worker where there is one that works."""

    def __init__(self, worker: LayoutWorker | None = None) -> None:
        self.worker = worker
        self.may_take_s: Callable[[], float | None] = lambda: None
        """CPU seconds that the next layout may take: fewer epochs rather than a late map. None: what it needs."""
        self._cell_epoch_s = USUAL_S
        self._last: Layout | None = None
        self._shaped: tuple[Panel, ndarray] | None = None
        """Panel and latent of the last UMAP from scratch."""

    def next(self, latent: Float[ndarray, "cell latent"], panel: Panel) -> Layout:
        """Lay out the panel; PCA with a note where the worker is not there or fails."""
        last, note = self._last, ""
        known, before = _shared(panel, last)
        try:
            # A latent of two dimensions is a map already.
            xy = latent if latent.shape[1] == 2 else self._umap(latent, panel, known, before)
        except LayoutError as error:
            xy, note = pca_layout(latent), f"The map is a PCA, not a UMAP: {error}"
        moved = None
        if len(known) > 1 and latent.shape[1] != 2:
            xy, moved = align(xy, known, before)
        number = 1 if last is None else last.number + 1
        self._last = Layout(number=number, panel=panel, xy=xy, moved=moved, note=note)
        return self._last

    def _umap(self, latent: ndarray, panel: Panel, known: ndarray, before: ndarray) -> ndarray:
        worker = self.worker
        if worker is None:
            raise LayoutError("it was asked for at once, before a layout process could be ready.")
        if not worker.is_ready:
            raise LayoutError("the layout process is warming up." if worker.is_alive else "the layout process died.")
        shaped = self._shaped
        if shaped is not None and len(known) and shaped[0] is panel and agreement(shaped[1], latent) >= SAME_SHAPE:
            return self._measured(worker, latent, place_new(latent, known, before), NEXT_EPOCHS)
        xy = self._measured(worker, latent, None, FIRST_EPOCHS)
        self._shaped = (panel, latent)
        return xy

    def _measured(self, worker: LayoutWorker, latent: ndarray, init: ndarray | None, wanted: int) -> ndarray:
        """A layout of as many epochs as are wanted, or as the time allows; what it took is the next one's guide."""
        fewest = FEWEST_EPOCHS if init is None else FEWEST_NEXT
        n_epochs = n_epochs_within(self.may_take_s(), self._cell_epoch_s * len(latent), wanted, fewest)
        before = worker.cpu_s
        xy = worker.layout(latent, init, n_epochs=n_epochs)
        self._cell_epoch_s = (worker.cpu_s - before) / ((FIXED_EPOCHS + n_epochs) * max(len(latent), 1))
        return xy


def n_epochs_within(seconds: float | None, epoch_s: float, wanted: int, fewest: int) -> int:
    """How many epochs fit, neighbours included; at least `fewest`, at most those that are wanted.

    Examples
    --------
    >>> n_epochs_within(4.5, 0.05, 200, 15), n_epochs_within(None, 0.05, 200, 15), n_epochs_within(0.1, 0.05, 200, 15)
    (67, 200, 15)
    """
    if seconds is None:
        return wanted
    return int(np.clip(seconds / max(epoch_s, 1e-9) - FIXED_EPOCHS, fewest, wanted))


def agreement(one: Float[ndarray, "cell latent"], other: Float[ndarray, "cell latent"]) -> float:
    """How alike two latents of the same cells are: the correlation of distances between some of them."""
    from scipy.spatial.distance import pdist

    chosen = np.linspace(0, len(one) - 1, min(COMPARED_CELLS, len(one))).astype(int)
    first, second = pdist(one[chosen]), pdist(other[chosen])
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _shared(panel: Panel, last: Layout | None) -> tuple[ndarray, ndarray]:
    """Cells of the panel that the last layout has: their indices, and where they lay."""
    if last is None:
        return np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    if last.panel is panel:
        return np.arange(len(panel)), last.xy
    # Rows stay below 2^62, so one bit can tell the query's cells from the atlas'.
    keys = [one.cell * 2 + one.is_query for one in (panel, last.panel)]
    _, here, there = np.intersect1d(*keys, return_indices=True)
    return here, last.xy[there]
