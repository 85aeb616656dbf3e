"""How a run is looked at and judged: its model, and what `judge` says of it while it may still be learning."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.cycle_lists import CycleSource, cycle_lists
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.look import Predicted
from livelatent.session.watched import LASTING, has_types
from livelatent.train.embed import embed
from livelatent.train.run import Run

__all__ = ["Finder", "ModelEye"]

DEVICE = "cpu"
"""Looking leaves the trainer's own device alone."""


@dataclass(frozen=True, eq=False)
class ModelEye:
    """A model that nobody trains."""

    model: Any
    step: int

    def embed(self, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of sorted rows."""
        return embed(self.model, atlas, rows, device=DEVICE)

    def sha256(self) -> str:
        """Of config and weights."""
        return str(self.model.sha256())


class Finder:
    """Asks `judge`, which keeps what no weight changes with the model's object.

    Parameters
    ----------
    cell_cycle
        Genes of S and G2M, as `find_novel` takes them.

    Raises
    ------
    SourceError
        If they can't be read: at once, not when the first flags are looked for.
    """

    def __init__(self, run: Run, cell_cycle: CycleSource | None = None) -> None:
        self.run = run
        self.atlas: Atlas = run.atlas
        self._cycle = None if cell_cycle is None else cycle_lists(cell_cycle)
        self._judged: Any = None

    @functools.cached_property
    def can_judge(self) -> bool:
        """Whether there are types to hold cells against: some models learn without a label."""
        return has_types(self.atlas)

    @property
    def has_begun(self) -> bool:
        """Whether a step was trained."""
        return self.run.status.step > 0

    def eye(self) -> ModelEye:
        """The model of a run that has ended, else a copy as of now."""
        if self.run.status.state in LASTING:
            return ModelEye(self.run.model, self.run.status.step)
        snapshot = self.run.snapshot()
        return ModelEye(snapshot.model, snapshot.step)

    def find(self, eye: ModelEye, query: Atlas | None, target_fpr: float) -> list[JudgedNovelty]:
        """Scores and flags of the run's atlas and, where there is one, the query."""
        from livelatent.judge.flags import find_novel
        from livelatent.judge.reference import fit_reference

        model = eye.model
        if self.run.status.state not in LASTING:
            # PCA and regressions stay with the object that was judged before.
            if self._judged is None:
                self._judged = model
            else:
                self._judged.load_state_dict(model.state_dict())
                model = self._judged
        fit_reference(model, self.atlas)
        places = [self.atlas] if query is None else [self.atlas, query]
        return [find_novel(model, one, target_fpr=target_fpr, cell_cycle=self._cycle) for one in places]

    def predict(self, eye: ModelEye, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Predicted:
        """What the annotator calls these sorted rows."""
        from livelatent.judge.annotator import label_cells, load_annotator

        # A find has just fitted the reference, so no encoder is trained for this.
        table = label_cells(load_annotator(eye.model), eye.model, atlas, rows)
        names = [str(name) for name in table["label"]]
        known = tuple(sorted(set(names)))
        code_of = {name: code for code, name in enumerate(known)}
        return Predicted(
            names=known,
            code=np.array([code_of[name] for name in names], np.int64),
            probability=np.asarray(table["probability"], np.float64),
        )
