"""How a latent without a model of ours is judged: by its own distances to the labelled cells."""

import functools

import numpy as np

from livelatent.arrays import Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.cycle_lists import CycleSource, cycle_lists
from livelatent.judge.latent_expression import LatentExpression, fit_latent_expression
from livelatent.judge.latent_novelty import LatentReference, find_novel_in, fit_latent_reference
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.look import Eye, Predicted
from livelatent.session.watched import HasEye, has_types

__all__ = ["LatentFinder"]


class LatentFinder:
    """Judges whatever shows its latent by itself.

    Parameters
    ----------
    cell_cycle
        Genes of S and G2M, as `find_novel` takes them.

    Raises
    ------
    SourceError
        If they can't be read: at once, not when the first flags are looked for.
    """

    def __init__(self, watched: HasEye, cell_cycle: CycleSource | None = None) -> None:
        self.watched = watched
        self._cycle = None if cell_cycle is None else cycle_lists(cell_cycle)
        self._fitted: tuple[str, LatentReference, ndarray] | None = None

    @functools.cached_property
    def can_judge(self) -> bool:
        """Whether there are types to hold cells against."""
        return has_types(self.watched.atlas)

    @property
    def has_begun(self) -> bool:
        """A latent that was given is there; one that is being learnt begins with its first step."""
        status = self.watched.status
        return status.state == "latent" or status.step > 0

    def eye(self) -> Eye:
        """How cells look now."""
        return self.watched.eye()

    def find(self, eye: Eye, query: Atlas | None, target_fpr: float) -> list[JudgedNovelty]:
        """Scores and flags of the atlas."""
        reference, latent = self._reference(eye)
        return [find_novel_in(reference, latent.__getitem__, target_fpr=target_fpr, cell_cycle=self._cycle)]

    def predict(self, eye: Eye, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Predicted:
        """The likeliest type of each of these rows, by a regression on the latent."""
        reference, latent = self._reference(eye)
        code = np.asarray(reference.regression.predict(reference.scaled(latent[rows])), np.int64)
        return Predicted(names=reference.label_names, code=code)

    def _reference(self, eye: Eye) -> tuple[LatentReference, ndarray]:
        """Fitted once for each latent; and all of that latent, at once: a second answer may be of other weights."""
        key = eye.sha256()
        if self._fitted is None or self._fitted[0] != key:
            atlas = self.watched.atlas
            latent = eye.embed(atlas, np.arange(atlas.n_cells))
            reference = fit_latent_reference(latent.__getitem__, atlas, expression=self._expression)
            self._fitted = (key, reference, latent)
        return self._fitted[1:]

    @functools.cached_property
    def _expression(self) -> LatentExpression:
        """What no step of training changes."""
        return fit_latent_expression(self.watched.atlas)
