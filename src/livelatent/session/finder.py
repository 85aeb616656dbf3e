"""Flags and predictions for a view: what `judge` says of a model that may still be learning."""

import functools
from typing import Any

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.session.board import JudgedNovelty
from livelatent.session.look import Look, Predicted

__all__ = ["Finder"]


class Finder:
    """Asks `judge`, which keeps what no weight changes with the model's object."""

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas
        self._judged: Any = None

    @functools.cached_property
    def can_judge(self) -> bool:
        """Whether there are types to hold cells against: some models learn without a label."""
        return all(len(self.atlas.rows(split, labelled=True)) for split in ("train", "calibration"))

    def learning(self, snapshot: Any) -> Any:
        """A snapshot of a model that learns, in the object that was judged before: PCA and regressions stay with it."""
        if self._judged is None:
            self._judged = snapshot
        else:
            self._judged.load_state_dict(snapshot.state_dict())
        return self._judged

    def find(self, model: Any, query: Atlas | None, target_fpr: float) -> list[JudgedNovelty]:
        """Scores and flags of the run's atlas and, where there is one, the query."""
        from livelatent.judge.flags import find_novel
        from livelatent.judge.reference import fit_reference

        fit_reference(model, self.atlas)
        places = [self.atlas] if query is None else [self.atlas, query]
        return [find_novel(model, one, target_fpr=target_fpr) for one in places]

    def predict(self, model: Any, look: Look, query: Atlas | None) -> Predicted:
        """What the annotator calls the panel's cells."""
        from livelatent.judge.annotator import label_cells, load_annotator

        # A find has just fitted the reference, so no encoder is trained for this.
        annotator = load_annotator(model)
        tables = [label_cells(annotator, model, self.atlas, look.panel.rows)]
        if query is not None and len(look.panel.query_rows):
            tables.append(label_cells(annotator, model, query, look.panel.query_rows))
        names = [str(name) for table in tables for name in table["label"]]
        known = tuple(sorted(set(names)))
        code_of = {name: code for code, name in enumerate(known)}
        return Predicted(
            names=known,
            code=np.array([code_of[name] for name in names], np.int64),
            probability=np.concatenate([np.asarray(table["probability"], np.float64) for table in tables]),
        )
