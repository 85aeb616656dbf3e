"""Atlas: a store on disk, opened."""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import rows_or_all
from livelatent.atlas import manifest
from livelatent.atlas.cells import Cells
from livelatent.atlas.columns import codes_of, named
from livelatent.atlas.elements import is_storable, quiet_anndata, read_element
from livelatent.atlas.labels import LabelJournal, sources_of
from livelatent.atlas.layout import KEPT, LABEL, beside
from livelatent.atlas.obs_columns import StoredObs
from livelatent.atlas.obsm_rows import ObsmRows, Vectors
from livelatent.atlas.opening import (
    Place,
    array_in,
    check_shards,
    damage_named,
    group_in,
    open_root,
    store_place,
)
from livelatent.atlas.stored_matrix import CsrArrays, Standing, StoredMatrix
from livelatent.atlas.write import RowWriter, replace_element, streamed_obsm
from livelatent.errors import ColumnError, LabelError, StoreError
from livelatent.paths import local_path
from livelatent.progress import CellProgress

if TYPE_CHECKING:
    from anndata import AnnData

    from livelatent.atlas.remote import Address


class Atlas(Cells):
    """Cells x genes on disk, with their labels, batches and splits. Open one with `Atlas.open(path)`."""

    is_shuffled = True
    """Whether neighbours are a random sample of the cells, so that large blocks mix."""
    asked: dict[str, Any] | None = None
    """What opens it again besides its path, where it is none of our stores."""

    def __init__(self, path: Place, facts: dict[str, Any], n_cells: int, genes: Shaped[ndarray, " gene"]):
        self.path = path
        self._labels_folder: Path | None = None
        self.n_cells = n_cells
        self.genes = genes
        self.label_column = str(facts["label"])
        self.batch_column = str(facts["batch"])
        self.unlabelled = tuple(str(name) for name in facts["unlabelled"])
        self._facts = facts
        self._standing = Standing(path, self.uuid)
        self._stored_obs = StoredObs(n_cells, self._standing)
        self._matrices: dict[str, StoredMatrix] = {}
        self._obsm: dict[str, ObsmRows] = {}

    @classmethod
    def open(
        cls,
        path: "str | os.PathLike[str] | Address",
        *,
        journal: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> "Atlas":
        """Open a store that `ingest` wrote.

        Parameters
        ----------
        path
            A folder, or an address: `s3://bucket/blood.zarr`, `gs://...`, `https://...`.
        journal
            Folder for labels given by hand; beside the store by default. A remote or read-only store needs one.
        storage_options
            For an address: `endpoint`, `region`, `anonymous`, `headers`, `timeout_s`, `retries`, and obstore's own
            keys. What is not given comes from the usual environment variables.

        Raises
        ------
        StoreError
            If it is none of ours, of another version, or files of it are missing or changed; or can't be reached.
        NoPermissionError
            If the server or the system does not let us read it.
        """
        return cls._open(
            store_place(path, storage_options), None if journal is None else local_path(journal, LabelError)
        )

    @classmethod
    def _open(cls, path: Place, journal: Path | None) -> "Atlas":
        root, facts = open_root(path)
        manifest.verify(path, str(facts["uuid"]))
        with damage_named(path):
            check_shards(path, root)
            n_cells, var = int(array_in(root, "obs/_index").shape[0]), read_element(root["var"])
        genes = np.array([str(name) for name in var.index], dtype=object)
        atlas = cls(path, facts, n_cells, genes)
        atlas._labels_folder = journal
        return atlas

    def __reduce__(self) -> tuple[Callable[..., "Atlas"], tuple[Any, ...], dict[str, Any]]:
        # Other processes (a Dask cluster) open the store themselves.
        return Atlas._open, (self.path, self._labels_folder), {"given_labels": self.given_labels}

    @property
    def folder(self) -> Path:
        """The store's folder on this machine.

        Raises
        ------
        StoreError
            If the store is remote, so nothing can be written to it or beside it.
        """
        if not isinstance(self.path, Path):
            raise StoreError(
                f"{self.path} is a remote store, which is only read. Copy it here first "
                f'(Atlas.open(address).copy_to("{self.path.name}")), write there, and copy it back with overwrite=True.'
            )
        return self.path

    def __repr__(self) -> str:
        batches = f"{len(self.batch_names)} batches" if self.batch_names else "no batch column"
        labels = f"{len(self.label_names)} labels" if self.label_names else "no labels"
        kind = type(self).__name__
        return f"{kind}({self.path.name}: {self.n_cells:,} cells x {self.n_genes:,} genes, {labels}, {batches})"

    @property
    def facts(self) -> dict[str, Any]:
        """What the store says of itself: `uns["livelatent"]`."""
        return dict(self._facts)

    @property
    def report(self) -> pd.DataFrame:
        """One row per source: how many of its genes were kept, dropped or missing, and what else was left behind."""
        return pd.DataFrame(json.loads(str(self._facts.get("report", "[]"))))

    @functools.cached_property
    def obs(self) -> pd.DataFrame:
        """The table of cells, in the store's order; read once, when it is first asked for."""
        return self._stored_obs.table()

    def _column_names(self) -> tuple[str, ...]:
        return self._stored_obs.names()

    def _column_or_none(self, name: str) -> "pd.Series[Any] | None":
        table = vars(self).get("obs")
        if table is None:
            return self._stored_obs.column(name)
        return table[name] if name in table.columns else None

    def columns_written(self, columns: Mapping[str, Any]) -> None:
        """Take over what was just written into the store's obs."""
        for name, values in columns.items() if "obs" in vars(self) else ():
            self.obs[name] = values
        vars(self).pop("kept", None)

    def obsm_rows(self, name: str) -> Vectors:
        """`obsm[name]`, to be read by rows.

        Raises
        ------
        ColumnError
            If there is none of that name, or it is no table of numbers.
        """
        held = self._obsm.get(name)
        if held is None or not held.is_current():
            held = self._obsm[name] = ObsmRows(name, self.n_cells, self._standing)
        return held

    @property
    def uuid(self) -> str:
        """Which store this is, wherever it lies."""
        return str(self._facts["uuid"])

    @property
    def mean_total(self) -> float:
        """The mean total count of a cell (L of equation 2.3, docs/equations.md)."""
        return float(self._facts["mean_total"])

    @property
    def n_genes(self) -> int:
        """Columns."""
        return len(self.genes)

    def colours_of(self, column: str) -> dict[str, str]:
        """`#rrggbb` of a column's values where the data bring their own; a store brings none: ingest leaves `uns`."""
        return {}

    @property
    def without_counts(self) -> str | None:
        """Why nothing can be said of its cells' counts, in a sentence; None where they are there, as in every store."""
        return None

    @functools.cached_property
    def kept_genes(self) -> Bool[ndarray, " gene"]:
        """Whether QC keeps each gene; all where `qc` has written no mask."""
        if not self.has_masks:
            return np.ones(self.n_genes, bool)
        root, _ = open_root(self.path)
        if f"var/{KEPT}" not in root:
            return np.ones(self.n_genes, bool)
        with damage_named(self.path):
            return np.array(read_element(root[f"var/{KEPT}"]), dtype=bool)

    # The matrix

    def matrix(self, name: str = "X") -> StoredMatrix:
        """`X`, or a layer as `layers/NAME`; opened once."""
        if name not in self._matrices:
            self._matrices[name] = StoredMatrix(name, self.n_cells, self.n_genes, self._standing)
        return self._matrices[name]

    def csr(self) -> CsrArrays:
        """The arrays of `X`, opened once; decoding runs on the zarrs pipeline, in threads."""
        return self.matrix().csr()

    def values_between(self, first: int, last: int, what: str = "") -> tuple[ndarray, ndarray]:
        """Stored values `first` to `last` of `X` and their gene indices; see `StoredMatrix.values_between`."""
        return self.matrix().values_between(first, last, what)

    def read_rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows `start` to `stop` of `X` as they are stored."""
        return self.matrix().read_rows(start, stop)

    def read_cells(self, rows: object) -> sparse.csr_matrix:
        """Any rows of `X`, sorted, read in runs of neighbours."""
        return self.matrix().read_cells(rows)

    def shards_of(self, first: int, last: int) -> str:
        """The files that hold stored values `first` to `last` of `X`, for a message."""
        return self.matrix().shards_of(first, last)

    # Out of and into the store

    def to_anndata(self, rows: object | None = None) -> "AnnData":
        """The cells in memory, layers too: in float32, or float64 where float32 would change a value."""
        from anndata import AnnData

        chosen = rows_or_all(rows, self.n_cells)
        matrix = self.matrix().in_memory(chosen)

        def tables() -> tuple[pd.DataFrame, dict[str, ndarray], list[str]]:
            root, _ = open_root(self.path)
            layers = [name for name, _ in group_in(root, "layers").members()] if "layers" in root else []
            obsm = {name: np.asarray(read_element(item))[chosen] for name, item in group_in(root, "obsm").members()}
            return read_element(root["var"]), obsm, layers

        with damage_named(self.path):
            var, obsm, names = self._standing.read(tables)
        layers = {name: self.matrix(f"layers/{name}").in_memory(chosen) for name in names}
        with quiet_anndata():
            return AnnData(matrix, obs=self.obs.iloc[chosen].copy(), var=var, obsm=obsm, layers=layers)

    def copy_to(
        self,
        target: "str | os.PathLike[str] | Address",
        *,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        progress: CellProgress | None = None,
    ) -> "Atlas":
        """Copy the store and its manifest to a bucket, or from one (or another folder) to this machine.

        A copy that was cut off can't be opened; run again, one to a bucket sends only what has not arrived. Labels
        given by hand and runs stay where they are.

        Parameters
        ----------
        overwrite
            Replace another store that stands there.
        progress
            Called often with bytes done, bytes in all, and what is being done.

        Raises
        ------
        StoreError
            If the store does not agree with its manifest, or the copy does not arrive whole.
        StoreExistsError
            If something else stands at `target`.
        """
        from livelatent.atlas.transfer import copy_store

        place = store_place(target, storage_options)
        copy_store(self.path, self.uuid, place, overwrite=overwrite, progress=progress)
        return Atlas._open(place, None)

    def write_obsm(self, name: str, array: Shaped[ndarray, "cell dim"]) -> None:
        """Store one vector per cell, such as a latent; replaces an earlier one of that name."""
        if array.ndim != 2 or array.shape[0] != self.n_cells:
            raise ValueError(f"one row for each of {self.n_cells} cells was wanted; got shape {array.shape}.")
        replace_element(self.folder, self.uuid, "obsm", _obsm_name(name), np.asarray(array))

    def obsm_writer(self, name: str, n_dims: int) -> AbstractContextManager[RowWriter]:
        """As `write_obsm`, for more vectors than fit in memory: append float32 rows, all of them, inside the block."""
        return streamed_obsm(self.folder, self.uuid, _obsm_name(name), self.n_cells, n_dims)

    def write_labels(self, column: str = LABEL) -> None:
        """Write the labels into an obs column of their own: the hand-given one, else the original; else missing.

        Raises
        ------
        ColumnError
            If `column` is one that came with the data, or is no name for a column.
        """
        if not is_storable(column):
            raise ColumnError(f"an obs column's name has no slash, and is none of Zarr's; got {column!r}.")
        ours = self.obs_columns_of_labels()
        if column in self._column_names() and column not in ours:
            raise ColumnError(
                f'{self.path}: obs column "{column}" came with the data and is not written over. Pass another name.'
            )
        values = self.labels.shown()
        names = sorted({name for name in values if name is not None})
        cells = pd.Categorical.from_codes(codes_of(values, tuple(names)), categories=pd.Index(names, dtype=object))
        replace_element(self.folder, self.uuid, "obs", column, cells, marks={"livelatent": "labels"})
        self.columns_written({column: cells})

    def obs_columns_of_labels(self) -> tuple[str, ...]:
        """The obs columns that `write_labels` wrote."""
        found = []
        for file in sorted((self.folder / "obs").glob("*/zarr.json")):
            if json.loads(file.read_bytes()).get("attributes", {}).get("livelatent") == "labels":
                found.append(file.parent.name)
        return tuple(found)

    def relabelled(self, codes: Int[ndarray, " cell"], names: Sequence[str]) -> "Atlas":
        """The same store under other labels, with the same journal; nothing is written.

        Parameters
        ----------
        codes
            Of `names`, one per cell; -1 is "no label".

        Examples
        --------
        >>> named = atlas.labels.shown()  # doctest: +SKIP
        >>> names = tuple(sorted({name for name in named if name is not None}))  # doctest: +SKIP
        >>> atlas.relabelled(codes_of(named, names), names).label_names  # doctest: +SKIP
        """
        codes = np.asarray(codes)
        if codes.shape != (self.n_cells,) or (self.n_cells and not -1 <= codes.min() <= codes.max() < len(names)):
            raise LabelError(
                f"{self.path}: one code in -1..{len(names) - 1} for each of {self.n_cells} cells was wanted; got "
                f"shape {codes.shape}."
            )
        other = type(self).__new__(type(self))
        # What was read already is shared: the store is one and the same, and only read.
        vars(other).update(
            {
                name: value
                for name, value in vars(self).items()
                if name not in ("_labels", "label", "label_names", "true_labels")
            }
        )
        other.given_labels = (codes.astype(np.int32), tuple(names))
        vars(other)["labels"] = self.labels
        return other

    @functools.cached_property
    def labels(self) -> LabelJournal:
        """The journal of labels given by hand: beside the store, or in the folder that `open(journal=...)` named."""
        beside_it = beside(self.path, "labels") if isinstance(self.path, Path) else None
        return LabelJournal(
            self._labels_folder or beside_it,
            np.asarray(self.obs["source"].astype(str), dtype=object),
            np.asarray(self.obs["source_row"], dtype=np.int64),
            named(self.label, self.label_names),
            names=np.asarray(self.obs["barcode"] if "barcode" in self.obs else self.obs.index, dtype=object),
            sources=sources_of(self._facts),
        )


def _obsm_name(name: str) -> str:
    if not is_storable(name) or name.startswith("."):
        raise ColumnError(f"an obsm name has no slash and no dot before it, and is none of Zarr's; got {name!r}.")
    return name
