"""A latent that is there already, watched as a run is: nothing trains, all else works."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import SourceError
from livelatent.session.commands import CommandError
from livelatent.train.history import History
from livelatent.train.run import RunStatus

__all__ = ["GivenLatent"]

PIECE_CELLS = 65_536


@dataclass(frozen=True, eq=False)
class GivenEye:
    """A latent in memory."""

    latent: Float[ndarray, "cell latent"]
    key: str
    step: int = 0

    def embed(self, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """Its rows."""
        return np.asarray(self.latent[rows], np.float32)

    def sha256(self) -> str:
        """Of its numbers."""
        return self.key


@dataclass(eq=False)
class GivenLatent:
    """`atlas.obsm[basis]` as something to watch.

    Parameters
    ----------
    atlas
        An `AnnDataAtlas`, or a store of ours with that obsm.

    Raises
    ------
    ColumnError
        If there is no obsm of that name, or it is no table of numbers.
    SourceError
        If there are fewer than two cells, or a number is missing or infinite.
    """

    atlas: Atlas
    basis: str
    history: History = field(default_factory=History)
    folder: Path | None = None

    def __post_init__(self) -> None:
        n_cells, name = self.atlas.n_cells, self.atlas.path.name
        vectors = self.atlas.obsm_rows(self.basis)
        if n_cells < 2:
            raise SourceError(f"{name}: a map needs at least two cells, and there is one.")
        parts = [vectors.read(start, min(start + PIECE_CELLS, n_cells)) for start in range(0, n_cells, PIECE_CELLS)]
        latent = np.concatenate(parts)
        is_bad = ~np.isfinite(latent).all(axis=1)
        if is_bad.any():
            first = int(np.flatnonzero(is_bad)[0])
            raise SourceError(
                f"{name}: {int(is_bad.sum()):,} of {n_cells:,} cells have a missing or infinite number in "
                f"obsm[{self.basis!r}] (first: row {first}, {self.atlas.obs.index[first]}). Compute it again, or leave "
                f"these cells out: `adata[np.isfinite(adata.obsm[{self.basis!r}]).all(axis=1)]`."
            )
        self._eye = GivenEye(latent, hashlib.sha256(np.ascontiguousarray(latent, "<f4").tobytes()).hexdigest())

    @property
    def notes(self) -> Sequence[str]:
        """What there is to see here, and where names go."""
        return (
            f"Nothing is trained here: the map shows obsm[{self.basis!r}] "
            f"({self.atlas.n_cells:,} cells x {self._eye.latent.shape[1]}) as it was given.",
        )

    @property
    def status(self) -> RunStatus:
        """Always the same."""
        return RunStatus("latent", "", 0, 0, 0, 0.0, 0.0, f"obsm[{self.basis!r}]")

    can_start = False

    def eye(self) -> GivenEye:
        """The latent."""
        return self._eye

    def start(self) -> None:
        """Refuse: there is nothing to train."""
        raise CommandError("this view shows a latent that was given, so there is nothing to train.")

    pause = resume = stop = start
