"""What is known of the cells: labels, batches, totals, splits, each from a column of obs that is read by itself."""

import functools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int32, Shaped
from numpy import ndarray

from livelatent.arrays import Rows
from livelatent.atlas.columns import ObsColumn, named, no_column, obs_column, text_codes, translated, used_names
from livelatent.atlas.layout import KEPT, SPLIT, TOTAL

if TYPE_CHECKING:
    from livelatent.atlas.remote import Address

SPLITS = ("train", "calibration", "validation")
NO_BATCH = "(missing)"


class Cells(ABC):
    """The cells of an atlas, in its order."""

    path: "Path | Address"
    n_cells: int
    """Rows."""
    label_column: str
    """Empty where none was named."""
    batch_column: str
    unlabelled: tuple[str, ...]
    """Names in the label column that mean "no label"."""
    given_labels: tuple[Int[ndarray, " cell"], tuple[str, ...]] | None = None
    """Codes and names that stand for the label column's, see `Atlas.relabelled`."""
    has_masks = True
    """Whether `qc` may have masked cells and genes. False where nothing of ours was written: then all are kept, even
    where a file has a column of the mask's name, since a mask stays with the store that it was made for."""

    @abstractmethod
    def _column_or_none(self, name: str) -> "pd.Series[Any] | None":
        """One column of obs; None where there is none of that name."""

    @abstractmethod
    def _column_names(self) -> tuple[str, ...]:
        """The columns of obs."""

    def _column(self, name: str) -> "pd.Series[Any]":
        found = self._column_or_none(name)
        if found is None:
            raise no_column(self.path, "obs", name, self._column_names())
        return found

    def obs_column(self, name: str) -> ObsColumn:
        """One column of obs, read without the others: text and categories as codes, numbers as they are.

        Raises
        ------
        ColumnError
            If there is none of that name.
        """
        return obs_column(self._column(name))

    @functools.cached_property
    def _labels(self) -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
        """The label column as codes and names, unlabelled names too."""
        if self.given_labels is not None:
            return self.given_labels
        if not self.label_column:
            return np.full(self.n_cells, -1, np.int8), ()
        return text_codes(self._column(self.label_column))

    @functools.cached_property
    def true_labels(self) -> Shaped[ndarray, " cell"]:
        """The label column as it was written, unlabelled names too; None where missing."""
        return named(*self._labels)

    @functools.cached_property
    def label_names(self) -> tuple[str, ...]:
        """Label names, sorted, without those that mean "no label"."""
        return tuple(sorted(used_names(*self._labels) - set(self.unlabelled)))

    @functools.cached_property
    def label(self) -> Int32[ndarray, " cell"]:
        """Label codes; -1 is "no label"."""
        return translated(*self._labels, self.label_names, np.int32)

    @functools.cached_property
    def _batches(self) -> tuple[Int32[ndarray, " cell"], tuple[str, ...]]:
        """Batch codes and names, sorted; cells without one are a batch of their own."""
        codes, held = text_codes(self._column(self.batch_column))
        has_none = bool((codes < 0).any())
        names = tuple(sorted(used_names(codes, held) | ({NO_BATCH} if has_none else set())))
        batch = translated(codes, held, names, np.int32)
        if has_none:
            batch[codes < 0] = names.index(NO_BATCH)
        return batch, names

    @property
    def batch_names(self) -> tuple[str, ...]:
        """Batch names, sorted; () without a batch column."""
        return self._batches[1] if self.batch_column else ()

    @functools.cached_property
    def batch(self) -> Int32[ndarray, " cell"]:
        """Batch codes; all 0 without a batch column."""
        return self._batches[0] if self.batch_column else np.zeros(self.n_cells, np.int32)

    @functools.cached_property
    def total(self) -> Float[ndarray, " cell"]:
        """Total counts over all genes measured in the source; 0 for an empty cell."""
        return np.asarray(self._column(TOTAL), dtype=np.float64)

    @functools.cached_property
    def _splits(self) -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
        """The splits as codes and names."""
        return text_codes(self._column(SPLIT))

    @property
    def split(self) -> Shaped[ndarray, " cell"]:
        """`"train"`, `"calibration"` or `"validation"`."""
        return named(*self._splits)

    @functools.cached_property
    def kept(self) -> Bool[ndarray, " cell"]:
        """Whether QC keeps each cell; all where `qc` has written no mask."""
        mask = self._column_or_none(KEPT) if self.has_masks else None
        return np.ones(self.n_cells, bool) if mask is None else np.array(mask, dtype=bool)

    def rows(self, split: str | None = None, *, labelled: bool | None = None) -> Rows:
        """Sorted rows that QC keeps: of a split (None: all), with a label, without one, or (None) both."""
        if split is not None and split not in SPLITS:
            raise ValueError(f'split is "train", "calibration" or "validation"; got {split!r}.')
        mask = self.kept
        if split is not None:
            codes, names = self._splits
            mask = mask & (translated(codes, names, (split,), np.int32) == 0)
        if labelled is not None:
            mask = mask & ((self.label >= 0) == labelled)
        return np.flatnonzero(mask).astype(np.int64)
