"""Several atlases as one run of rows, with one set of names for their labels and batches."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from livelatent.arrays import Rows, as_rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.columns import translated
from livelatent.atlas.genes import missing_genes
from livelatent.errors import GeneMismatchError


class Together:
    """Atlases behind one another: row r of atlas k is row `first[k] + r` of all.

    Each begins at a multiple of `block_cells`, so that no block holds cells of two. One atlas alone keeps its numbers.
    """

    def __init__(self, atlases: Sequence[Atlas], block_cells: int) -> None:
        if not atlases:
            raise ValueError("a stream needs at least one atlas; got none.")
        self.atlases = tuple(atlases)
        lengths = [-(-atlas.n_cells // block_cells) * block_cells for atlas in self.atlases]
        self.first: Int[ndarray, " atlas"] = np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.int64)

    def rows(self, rows: "Sequence[Rows] | Rows | None") -> Rows:
        """Rows of all, from rows (or masks) of each; None means the cells that QC keeps."""
        if rows is None:
            chosen = [atlas.rows() for atlas in self.atlases]
        elif len(self.atlases) == 1:
            single: Any = rows[0] if isinstance(rows, list | tuple) and len(rows) == 1 and np.ndim(rows[0]) else rows
            chosen = [as_rows(single, self.atlases[0].n_cells)]
        elif len(rows) != len(self.atlases):
            raise ValueError(f"rows of each of {len(self.atlases)} atlases were wanted; got {len(rows)}.")
        else:
            chosen = [as_rows(part, atlas.n_cells) for part, atlas in zip(rows, self.atlases, strict=True)]
        return np.concatenate([part + first for part, first in zip(chosen, self.first.tolist(), strict=True)])

    def atlas_of(self, rows: Int[ndarray, " cell"]) -> Int[ndarray, " cell"]:
        """Which atlas each row of all is in."""
        if len(self.atlases) == 1:
            return np.zeros(len(rows), np.int64)
        return np.searchsorted(self.first, rows, side="right") - 1

    def per_cell(
        self, rows: Int[ndarray, " cell"], of_atlas: Sequence[Shaped[ndarray, " row"]]
    ) -> Shaped[ndarray, " cell"]:
        """What `of_atlas[k]` says of each row of atlas k, for rows of all."""
        if len(self.atlases) == 1:
            return np.asarray(of_atlas[0][rows])
        atlas = self.atlas_of(rows)
        out = np.empty((len(rows), *of_atlas[0].shape[1:]), np.result_type(*of_atlas))
        for number, values in enumerate(of_atlas):
            mine = atlas == number
            out[mine] = values[rows[mine] - self.first[number]]
        return out

    # Names that all share

    @functools.cached_property
    def label_names(self) -> tuple[str, ...]:
        """Label names of all atlases, sorted."""
        return _union([atlas.label_names for atlas in self.atlases])

    @functools.cached_property
    def batch_names(self) -> tuple[str, ...]:
        """Batch names of all atlases, sorted: a batch of the same name is the same batch."""
        return _union([atlas.batch_names for atlas in self.atlases])

    @functools.cached_property
    def label(self) -> list[Int[ndarray, " row"]]:
        """Codes of `label_names` per atlas; -1 is "no label"."""
        return [translated(atlas.label, atlas.label_names, self.label_names, np.int32) for atlas in self.atlases]

    @functools.cached_property
    def batch(self) -> list[Int[ndarray, " row"]]:
        """Codes of `batch_names` per atlas; -1 in one without a batch column beside one that has it, 0 if none has."""
        if not self.batch_names:
            return [atlas.batch for atlas in self.atlases]
        return [
            translated(atlas.batch, atlas.batch_names, self.batch_names, np.int32)
            if atlas.batch_names
            else np.full(atlas.n_cells, -1, np.int32)
            for atlas in self.atlases
        ]

    @functools.cached_property
    def total(self) -> list[Float[ndarray, " row"]]:
        """Total counts per atlas."""
        return [atlas.total for atlas in self.atlases]

    @property
    def mean_total(self) -> float:
        """The mean total count of a cell: the atlases' own, by their cells."""
        cells = [atlas.n_cells for atlas in self.atlases]
        return float(np.average([atlas.mean_total for atlas in self.atlases], weights=cells))

    # Genes

    def genes(self, wanted: Sequence[str] | ndarray | None) -> Shaped[ndarray, " gene"]:
        """Names to deliver: those wanted; else those that every atlas has, in the first one's order."""
        if wanted is not None:
            return np.array([str(name) for name in wanted], dtype=object)
        names = self.atlases[0].genes
        for atlas in self.atlases[1:]:
            names = names[pd.Index(names).isin(pd.Index(atlas.genes))]
        if not len(names):
            raise GeneMismatchError(
                f"{', '.join(str(atlas.path) for atlas in self.atlases)} share no gene. Ingest them with names of the "
                "same kind (`gene_names=`), or train on one."
            )
        return names

    def gene_maps(
        self, genes: Shaped[ndarray, " gene"]
    ) -> tuple[list[Int[ndarray, " gene"]], tuple[tuple[str, ...], ...]]:
        """Per atlas: the place of each of its genes among `genes` (-1: not wanted), and the names that it lacks.

        Raises
        ------
        GeneMismatchError
            If more than half of them are missing from an atlas, or one is named twice.
        """
        place = {str(name): column for column, name in enumerate(genes)}
        if len(place) != len(genes):
            raise GeneMismatchError(f"{len(genes) - len(place)} of the {len(genes)} genes to deliver are named twice.")
        maps, missing = [], []
        for atlas in self.atlases:
            names = [str(name) for name in atlas.genes]
            missing.append(missing_genes(atlas.path, list(place), names))
            maps.append(np.array([place.get(name, -1) for name in names], dtype=np.int32))
        return maps, tuple(missing)


def _union(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return names[0] if len(names) == 1 else tuple(sorted(set().union(*names)))
