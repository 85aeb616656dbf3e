"""Methods side by side over splits and seeds."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from livelatent.atlas.atlas import Atlas
from livelatent.judge.comparison.cost import Cost, measured
from livelatent.judge.comparison.methods import methods_of
from livelatent.judge.comparison.scores import annotation_scores, embedding_scores
from livelatent.judge.comparison.splits import Split, groups_of, held_out_splits, stratified_splits
from livelatent.judge.comparison.trial import Answer, Method, Trial
from livelatent.models.given import check_atlas
from livelatent.threads import one_thread
from livelatent.train.devices import resolve_device

__all__ = ["SCORES", "Comparison", "compare"]

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "nmi", "ari", "ilisi", "cpu_s", "peak_bytes")


@dataclass(frozen=True)
class Comparison:
    """What each method made of each split."""

    trials: pd.DataFrame
    """A row per method, split and seed: their names, `n_held`, `SCORES`, and a `note`."""
    held_out: str
    """What a split holds out, in words."""
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Per method the mean of every score over splits and seeds, and its spread over splits as `NAME_sd`."""
        found = []
        for method, own in self.trials.groupby("method", sort=False):
            row: dict[str, Any] = {"method": str(method), "n_trials": len(own)}
            by_split = own.groupby("split", sort=False)[list(SCORES)].mean()
            for name in SCORES:
                values = by_split[name].dropna()
                row[name] = float(values.mean()) if len(values) else None
                row[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
            found.append(row)
        return found

    def gain(self, method: str = "livelatent", over: Sequence[str] = ("lr_raw", "lr_pca")) -> pd.DataFrame:
        """Per split, means over seeds: accuracy and macro-F1 less those of the better of `over`, each by its own."""
        gains = {}
        for name in ("accuracy", "macro_f1"):
            means = self.trials.pivot_table(name, "split", "method", sort=False)
            gains[name] = means[method] - means[list(over)].max(axis=1)
        return pd.DataFrame(gains)

    def to_json(self) -> dict[str, Any]:
        """Plain values: `rows`, `trials`, what was held out, and notes."""
        return {
            "held_out": self.held_out,
            "rows": self.rows,
            "trials": json.loads(self.trials.to_json(orient="records", double_precision=6)),
            "notes": list(self.notes),
        }


def compare(
    atlas: Atlas,
    *,
    by: str | None = None,
    models: Iterable[str] = ("cellular",),
    methods: Sequence[Method] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    n_folds: int = 5,
    max_cells: int = 50_000,
    embeddings: bool = True,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """Compare methods at naming cells of groups that they have not seen.

    Parameters
    ----------
    by
        The obs column whose groups are held out one by one. None: the atlas's batches; where there are fewer than
        two, folds stratified by type.
    models
        Names in `MODELS`: each gets a row, logistic regression on its latent.
    methods
        Instead of `methods_of(models)`.
    seeds
        Networks are trained so many times.
    epochs
        Of their longest stage; None: their own.
    n_folds
        Of stratified folds.
    max_cells
        Of more labelled cells a sample stratified by type is used; the notes say so.
    embeddings
        Score embeddings too (NMI, ARI, iLISI).

    Raises
    ------
    LabelError
        If fewer than two types have a label.
    ColumnError
        If `by` is no column of names.
    ValueError
        If `seeds` is below 1, `n_folds` or `max_cells` below 2, or a model is none of `MODELS`.
    DeviceError
        If torch can't use the device.

    Notes
    -----
    Only types that a split's training cells have are scored. Every method learns from the split's training cells and
    nothing else, the mean total of the atlas excepted, by which all cells are normalised. Methods without a random
    choice are run under the first seed only.
    """
    check_atlas(atlas, "compare")
    if seeds < 1 or n_folds < 2 or max_cells < 2:
        raise ValueError(
            f"seeds must be at least 1, n_folds and max_cells at least 2; got {seeds}, {n_folds} and {max_cells:,}."
        )
    resolve_device(device)  # not after the first hour
    groups = groups_of(atlas, by)
    by_group = len(groups.names) >= 2
    splits = (
        held_out_splits(atlas, groups, max_cells=max_cells)
        if by_group
        else stratified_splits(atlas, n_folds, max_cells=max_cells)
    )
    chosen = tuple(methods_of(models) if methods is None else methods)
    batch = groups.code if by_group else np.zeros(atlas.n_cells, np.int64)
    n_all, done, found = len(splits) * seeds * len(chosen), 0, []
    for split in splits:
        for seed in range(seeds):
            trial = Trial(atlas, split, seed, epochs, device)
            for method in chosen:
                if progress is not None:
                    progress(f"{split.name}: {method.name}", done / n_all)
                done += 1
                if seed and not method.is_random:
                    continue
                found.append(_scored(trial, method, batch, embeddings))
    n_labelled = len(atlas.rows(labelled=True))
    notes = [
        f"{split.name}: {split.n_new_type:,} cells of types that no other group has are not scored."
        for split in splits
        if split.n_new_type
    ]
    for row in found:
        if str(row["note"]).startswith("failed: "):
            notes.append(f"{row['split']}: {row['method']} {row['note']}")
    if n_labelled > max_cells:
        notes.append(f"{max_cells:,} of {n_labelled:,} labelled cells, stratified by type.")
    what = f"each of {len(splits)} groups of {by or atlas.batch_column}" if by_group else f"each of {n_folds} folds"
    return Comparison(pd.DataFrame(found), what, tuple(notes))


def _scored(trial: Trial, method: Method, batch: Any, embeddings: bool) -> dict[str, Any]:
    split: Split = trial.split
    scores: dict[str, Any] = {}
    with one_thread():
        answer, total = _answer(trial, method)
        if isinstance(answer, Answer):
            scores |= annotation_scores(trial.label[split.held], answer.predicted)
            if embeddings and answer.latent is not None:
                scores |= embedding_scores(answer.latent, trial.label[trial.rows], batch[trial.rows], seed=trial.seed)
    facts = {"method": method.name, "split": split.name, "seed": trial.seed, "n_held": len(split.held)}
    filled = {name: scores.get(name) for name in SCORES}
    note = answer.note if isinstance(answer, Answer) else answer
    return facts | filled | {"cpu_s": total.cpu_s, "peak_bytes": total.peak_bytes, "note": note}


def _answer(trial: Trial, method: Method) -> tuple[Answer | str, Cost]:
    """What the method says of the split, and what that cost; of a peer that fails, why."""
    training, cost = Cost(), Cost()
    answer: Answer | str
    try:
        needed = []
        if method.needs is not None:
            model, training = trial.trained_for(method.needs)
            needed = [model]
        with measured() as cost:
            answer = method.run(trial, *needed)
    except Exception as error:
        # An hour of other rows is not lost to a library of another version.
        if not method.is_peer:
            raise
        answer = f"failed: {type(error).__name__}: {error}"
    return answer, training.plus(cost)
