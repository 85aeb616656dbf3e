"""Which cells a method learns from, and which it is asked of."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import ColumnError, LabelError
from livelatent.judge.expression import stratified_rows
from livelatent.judge.held_back import stratified_folds

__all__ = ["Groups", "Split", "groups_of", "held_out_splits", "stratified_splits"]


@dataclass(frozen=True)
class Split:
    """One group of cells, and all others."""

    name: str
    training: Int[ndarray, " training"]
    """Rows of the store."""
    held: Int[ndarray, " held"]
    """Rows of the store, of types that the training cells have."""
    n_new_type: int
    """Cells of the group left out because no training cell has their type."""


@dataclass(frozen=True)
class Groups:
    """What is held out, one after the other."""

    names: tuple[str, ...]
    code: Int[ndarray, " cell"]


def groups_of(atlas: Atlas, column: str | None = None) -> Groups:
    """The groups of an obs column; None: the atlas's batches.

    Raises
    ------
    ColumnError
        If there is no such column, or it holds numbers.
    """
    if column is None:
        return Groups(tuple(atlas.batch_names), np.asarray(atlas.batch, np.int64))
    found = atlas.obs_column(column)
    if found.names is None:
        raise ColumnError(
            f"{atlas.path}: obs[{column!r}] holds numbers; what is held out goes by names. Write it as text."
        )
    return Groups(tuple(map(str, found.names)), np.asarray(found.values, np.int64))


def used_rows(atlas: Atlas, max_cells: int, seed: int) -> Rows:
    """Labelled cells that QC keeps, at most so many, stratified by type."""
    label = np.where(atlas.kept, np.asarray(atlas.label, np.int64), -1)
    rows = stratified_rows(label, max_cells, seed=seed)
    n_types = len(np.unique(label[rows]))
    if n_types < 2:
        raise LabelError(
            f"{atlas.path}: a comparison needs labelled cells of at least two types; got {n_types}. Name the label "
            "column."
        )
    return rows


def held_out_splits(atlas: Atlas, groups: Groups, *, max_cells: int = 50_000, seed: int = 0) -> tuple[Split, ...]:
    """Each group held out once; groups without a cell of a type that the others have are passed over.

    Raises
    ------
    LabelError
        If fewer than two types have a label, or no group can be held out.
    """
    rows = used_rows(atlas, max_cells, seed)
    label = np.asarray(atlas.label, np.int64)
    splits = []
    for code, name in enumerate(groups.names):
        held, training = rows[groups.code[rows] == code], rows[groups.code[rows] != code]
        known = np.isin(label[held], label[training])
        if known.any() and len(np.unique(label[training])) >= 2:
            splits.append(Split(name, training, held[known], int((~known).sum())))
    if not splits:
        raise LabelError(
            f"{atlas.path}: no group can be held out: {len(groups.names)} groups share no type. Leave the batch column "
            "out for folds stratified by type."
        )
    return tuple(splits)


def stratified_splits(atlas: Atlas, n_folds: int = 5, *, max_cells: int = 50_000, seed: int = 0) -> tuple[Split, ...]:
    """Folds stratified by type; a cell whose type is in its own fold only is left out."""
    rows = used_rows(atlas, max_cells, seed)
    label = np.asarray(atlas.label, np.int64)[rows]
    fold = stratified_folds(label, n_folds, seed=seed)
    splits = []
    for number in range(n_folds):
        out = fold == number
        known = np.isin(label[out], label[~out])
        splits.append(Split(f"fold {number + 1}", rows[~out], rows[out][known], int((~known).sum())))
    return tuple(split for split in splits if len(split.held))
