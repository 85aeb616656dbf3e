"""AnnDataAtlas: the cells of an AnnData that somebody has open, in memory or backed, as an atlas that is only read."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int, Shaped
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, as_rows, rows_or_all
from livelatent.atlas.anndata_expression import Expression, expression_of
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.cells import SPLITS
from livelatent.atlas.columns import named, no_column, text_codes
from livelatent.atlas.hashed_split import hashed_split
from livelatent.atlas.labels import LabelJournal
from livelatent.atlas.layout import beside
from livelatent.atlas.sources.memory import name_of, obs_names
from livelatent.atlas.uns_colours import uns_colours
from livelatent.errors import ColumnError, SourceError, StoreError
from livelatent.palette import category_colours

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["AnnDataAtlas"]

FINGERPRINT_CELLS = 50
MOST_COLOURS = 64
"""Of new names; beyond them colours come again."""


class AnnDataAtlas(Atlas):
    """Cells x genes of an AnnData, where they lie: nothing is copied, and nothing but a new obs column is written.

    Parameters
    ----------
    label, batch
        Obs columns with cell types and with the technical batch.
    unlabelled
        Names in the label column that mean "no label".
    journal
        Folder for labels given by hand. None: beside the file of a backed AnnData, else `NAME.labels` in the working
        directory, NAME being a hash of the cells' names. It is made at the first label.
    counts
        Which matrix genes are compared by, see `expression_of`.

    Raises
    ------
    ColumnError
        If obs has no such column, or nothing in it.
    SourceError
        If there are no cells, or two of one name.
    """

    path: Path
    has_masks = False

    def __init__(
        self,
        adata: "AnnData",
        *,
        label: str | None = None,
        batch: str | None = None,
        unlabelled: Sequence[str] = (),
        journal: Path | None = None,
        counts: str | None = None,
        seed: int = 0,
    ) -> None:
        self.adata = adata
        file = getattr(adata, "filename", None)
        self.path = Path(name_of(adata) + _print_of(adata)) if file is None else Path(file)
        self.n_cells = int(adata.n_obs)
        self._names = adata.obs_names
        self._check_names()
        self.label_column = self._checked_column(label, "label")
        self.batch_column = self._checked_column(batch, "batch")
        self.unlabelled = tuple(str(name) for name in unlabelled)
        self._facts = {}
        self._seed = seed
        self._expression: Expression | None = expression_of(adata, counts)
        self.genes = np.zeros(0, object) if self._expression is None else self._expression.genes
        home = beside(self.path.absolute() if file else Path.cwd() / self.path.name, "labels")
        self._labels_folder = home if journal is None else journal

    def _check_names(self) -> None:
        if self.n_cells == 0:
            raise SourceError(f"{self.path.name}: the AnnData has no cells, so there is nothing to see.")
        names = pd.Index(self.adata.obs_names)
        twice = names[names.duplicated()].unique()
        if len(twice):
            raise SourceError(
                f"{self.path.name}: {len(twice)} obs names stand for more than one cell (first: "
                f"{', '.join(map(str, twice[:3]))}), and a label must know its cells. Call "
                "`adata.obs_names_make_unique()` first."
            )

    def _checked_column(self, column: str | None, role: str) -> str:
        if column is None:
            return ""
        if (text_codes(self._column(column))[0] < 0).all():
            raise ColumnError(
                f'{self.path.name}: every value of obs column "{column}" is missing; name another as `{role}`.'
            )
        return column

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        raise TypeError("an open AnnData stays in its process. Ingest it to work on it with a cluster.")

    @functools.cached_property
    def uuid(self) -> str:
        """A hash of the names of its cells."""
        return hashlib.sha256(obs_names(self.adata)).hexdigest()[:32]

    @property
    def folder(self) -> Path:
        """None: StoreError, since nothing is written to it."""
        raise self._read_only("written to")

    # Cells

    @property
    def obs(self) -> pd.DataFrame:
        """The AnnData's own.

        Raises
        ------
        StoreError
            If its cells are others than when it was opened: rows would mean other cells.
        """
        table: pd.DataFrame = self.adata.obs
        if table.index is not self._names and not table.index.equals(self._names):
            raise StoreError(
                f"{self.path.name}: the AnnData was filtered or put into another order since it was opened here "
                f"({self.n_cells:,} cells then, {len(table):,} now), so rows no longer mean the same cells. "
                "Open it anew."
            )
        return table

    def _column_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.obs.columns))

    def _column_or_none(self, name: str) -> "pd.Series[Any] | None":
        return self.obs[name].reset_index(drop=True) if name in self.obs.columns else None

    def colours_of(self, column: str) -> dict[str, str]:
        """`#rrggbb` of a categorical column's values by `uns["<column>_colors"]`, as it is now."""
        return uns_colours(self.adata, column)

    @functools.cached_property
    def total(self) -> Float64[ndarray, " cell"]:
        """Counts of each cell, over the matrix's own genes; one number for all where there are logs, or none."""
        if self._expression is None:
            return np.ones(self.n_cells)
        return self._expression.totals(self.n_cells)

    @functools.cached_property
    def mean_total(self) -> float:
        """The mean of `total` (L of equation 2.3, docs/equations.md)."""
        return float(self.total.mean())

    @property
    def without_counts(self) -> str | None:
        """What flags then lack, and what to do; None where a matrix holds counts."""
        held = self._expression
        if held is not None and held.kind == "counts" and self.mean_total > 0:
            return None
        if held is None:
            what = "its matrices hold scaled values"
        elif held.kind == "logs":
            what = f"{held.name} holds logs of normalised counts"
        else:
            what = f"every value of {held.name} is 0"
        return (
            "Depth, mitochondrial share and doublet score of flags are not measured: the AnnData has no counts "
            f"({what}). "
            'Keep raw counts in `adata.layers["counts"]`, or name their matrix (`counts=`).'
        )

    @functools.cached_property
    def _splits(self) -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
        # By the names of all cells, so that a file that is moved or renamed keeps its splits.
        return hashed_split(name_of(self.adata), np.arange(self.n_cells), self._seed), SPLITS

    @functools.cached_property
    def labels(self) -> LabelJournal:
        """The journal of labels given by hand."""
        return LabelJournal(
            self._labels_folder,
            np.full(self.n_cells, name_of(self.adata), dtype=object),
            np.arange(self.n_cells),
            named(self.label, self.label_names),
            names=np.array([str(name) for name in self.adata.obs_names], dtype=object),
        )

    def write_labels(self, column: str = "livelatent_label") -> None:
        """Write the labels into a new column of `adata.obs`: the hand-given one, else the original; else missing.

        Where the label column has colours in `uns`, the new one gets them too, and new names get others.

        Raises
        ------
        ColumnError
            If the AnnData has a column of that name that this did not write.
        """
        ours = self.adata.uns.get("livelatent_columns", [])
        if column in self.obs.columns and column not in list(map(str, ours)):
            raise ColumnError(
                f'{self.path.name}: obs column "{column}" came with the data and is not written over. Name another.'
            )
        colours = self.colours_of(self.label_column) | self.colours_of(column)
        self.adata.obs[column] = pd.Categorical(self.labels.shown())
        if colours:
            # Categories may be others than before, and scanpy goes by their order.
            names = [str(name) for name in self.adata.obs[column].cat.categories]
            free = [colour.lower() for colour in category_colours(MOST_COLOURS)]
            free = [colour for colour in free if colour not in colours.values()] or free
            new = dict(zip((name for name in names if name not in colours), itertools.cycle(free), strict=False))
            self.adata.uns[f"{column}_colors"] = [(colours | new)[name] for name in names]
        self.adata.uns["livelatent_columns"] = sorted({*map(str, ours), column})

    # Numbers

    def obsm_rows(self, name: str) -> "HeldVectors":
        """`obsm[name]`.

        Raises
        ------
        ColumnError
            If there is none of that name, or it is no table of numbers.
        """
        if name not in self.adata.obsm:
            raise no_column(self.path.name, "obsm", name, map(str, self.adata.obsm))
        return HeldVectors(f"{self.path.name}: obsm[{name!r}]", self.adata.obsm[name])

    def read_rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Counts of rows `start` to `stop`."""
        start, stop, _ = slice(start, stop).indices(self.n_cells)
        return self.read_cells(np.arange(start, max(start, stop)))

    def read_cells(self, rows: object) -> sparse.csr_matrix:
        """Counts of any rows, sorted."""
        chosen: Rows = as_rows(rows, self.n_cells)
        if self._expression is None:
            return sparse.csr_matrix((len(chosen), 0))
        return self._expression.read(chosen)

    def matrix(self, name: str = "X") -> Any:
        """None that could be streamed: StoreError."""
        raise self._read_only("streamed")

    def to_anndata(self, rows: object | None = None) -> "AnnData":
        """A copy of these cells."""
        return self.adata[rows_or_all(rows, self.n_cells)].to_memory(copy=True)

    def _read_only(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path.name} is an AnnData that is looked at as it is, and never {what}. Ingest it: "
            'livelatent.ingest(adata, "NAME.zarr").'
        )


class HeldVectors:
    """An obsm array in memory: an ndarray, or a table of numbers."""

    def __init__(self, where: str, values: Any) -> None:
        if hasattr(values, "toarray"):
            raise ColumnError(f"{where} is sparse. Make it dense (`.toarray()`): a latent has no zeros to leave out.")
        values = values.compute() if hasattr(values, "compute") else values
        array = np.asarray(values)
        if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiub":
            raise ColumnError(
                f"{where} has shape {array.shape} and type {array.dtype}; a table of numbers was wanted, a row a cell."
            )
        self._values = array
        self.n_dims = int(array.shape[1])
        """Numbers per cell."""

    def read(self, start: int, stop: int) -> Float32[ndarray, "cell dim"]:
        """Rows `start` to `stop`."""
        return np.asarray(self._values[start:stop], np.float32)

    def at(self, rows: Shaped[ndarray, " cell"]) -> Float32[ndarray, "cell dim"]:
        """Any rows."""
        return np.asarray(self._values[rows], np.float32)


def _print_of(adata: "AnnData") -> str:
    """What tells apart data sets whose cells are only numbered: else one would show the labels of another."""
    names = pd.Index(adata.obs_names)
    if not names.equals(pd.Index(np.arange(adata.n_obs).astype(str))):
        return ""
    known = hashlib.sha256("\n".join(map(str, adata.var_names)).encode())
    for first in (adata.X, *(adata.obsm[key] for key in sorted(map(str, adata.obsm)))):
        if first is not None:
            some = first[:FINGERPRINT_CELLS]
            some = some.toarray() if hasattr(some, "toarray") else some
            known.update(np.ascontiguousarray(np.asarray(some, np.float64)).tobytes())
            break
    return f"-{known.hexdigest()[:8]}"
