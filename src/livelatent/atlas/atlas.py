"""Atlas: a store on disk, opened."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int32, Shaped
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, rows_or_all
from livelatent.atlas import manifest
from livelatent.atlas.columns import codes_of, is_none, text_or_none
from livelatent.atlas.elements import is_storable, quiet_anndata, read_element
from livelatent.atlas.labels import LabelJournal, sources_of
from livelatent.atlas.layout import KEPT, LABEL, SPLIT, TOTAL, beside, text_index
from livelatent.atlas.opening import (
    Place,
    array_in,
    check_shards,
    damage_named,
    group_in,
    open_root,
    store_place,
    warm,
)
from livelatent.atlas.stored_matrix import CsrArrays, Standing, StoredMatrix
from livelatent.atlas.write import RowWriter, replace_element, streamed_obsm
from livelatent.errors import ColumnError, LabelError, StoreError
from livelatent.paths import local_path
from livelatent.progress import CellProgress

if TYPE_CHECKING:
    from anndata import AnnData

    from livelatent.atlas.remote import Address


class Atlas:
    """Cells x genes on disk, with their labels, batches and splits. Open one with `Atlas.open(path)`."""

    def __init__(self, path: Place, facts: dict[str, Any], n_cells: int, genes: Shaped[ndarray, " gene"]):
        self.path = path
        self._labels_folder: Path | None = None
        self.uuid = str(facts["uuid"])
        self.mean_total = float(facts["mean_total"])
        self.n_cells = n_cells
        """Rows."""
        self.genes = genes
        self.label_column = str(facts["label"])
        self.batch_column = str(facts["batch"])
        self.unlabelled = tuple(str(name) for name in facts["unlabelled"])
        self._facts = facts
        self._standing = Standing(path, self.uuid)
        self._matrices: dict[str, StoredMatrix] = {}

    @classmethod
    def open(
        cls,
        path: "str | os.PathLike[str] | Address",
        *,
        labels: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> "Atlas":
        """Open a store that `ingest` wrote.

        Parameters
        ----------
        path
            A folder, or an address: `s3://bucket/blood.zarr`, `gs://...`, `https://...`.
        labels
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
        return cls._open(store_place(path, storage_options), None if labels is None else local_path(labels, LabelError))

    @classmethod
    def _open(cls, path: Place, labels: Path | None) -> "Atlas":
        root, facts = open_root(path)
        manifest.verify(path, str(facts["uuid"]))
        with damage_named(path):
            check_shards(path, root)
            n_cells, var = int(array_in(root, "obs/_index").shape[0]), read_element(root["var"])
        genes = np.array([str(name) for name in var.index], dtype=object)
        atlas = cls(path, facts, n_cells, genes)
        atlas._labels_folder = labels
        return atlas

    def __reduce__(self) -> tuple[Callable[..., "Atlas"], tuple[Place, Path | None]]:
        # Other processes (a Dask cluster) open the store themselves.
        return Atlas._open, (self.path, self._labels_folder)

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
        return f"Atlas({self.path.name}: {self.n_cells:,} cells x {self.n_genes:,} genes, {labels}, {batches})"

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

        def read() -> Any:
            warm(self.path, "obs/")
            return read_element(open_root(self.path)[0]["obs"])

        with damage_named(self.path, lambda: "a file of obs"):
            if not self._standing.is_as_opened():
                self._standing.check()
            obs = self._standing.read(read)
        if not isinstance(obs, pd.DataFrame) or not self._standing.fits(len(obs), self.n_cells):
            raise StoreError(f"{self.path}: obs is no table of {self.n_cells} cells. Ingest the sources again.")
        obs = obs.iloc[: self.n_cells]
        obs.index = text_index(obs.index)
        return obs

    @property
    def n_genes(self) -> int:
        """Columns."""
        return len(self.genes)

    # Labels, batches, splits

    @functools.cached_property
    def true_labels(self) -> Shaped[ndarray, " cell"]:
        """The label column as it was written, unlabelled names too; None where missing."""
        if not self.label_column:
            return np.full(self.n_cells, None, dtype=object)
        return text_or_none(self.obs[self.label_column])

    @functools.cached_property
    def label_names(self) -> tuple[str, ...]:
        """Label names, sorted, without those that mean "no label"."""
        return tuple(sorted({name for name in self.true_labels if name is not None} - set(self.unlabelled)))

    @functools.cached_property
    def label(self) -> Int32[ndarray, " cell"]:
        """Label codes; -1 is "no label"."""
        return codes_of(self.true_labels, self.label_names)

    @property
    def _written_labels(self) -> Shaped[ndarray, " cell"]:
        """The name that each cell's own column gives it, None where it gives none."""
        return np.asarray(np.array([*self.label_names, None], dtype=object)[self.label])

    @functools.cached_property
    def _batch(self) -> Shaped[ndarray, " cell"]:
        """Batch names; cells without one are a batch of their own."""
        names = text_or_none(self.obs[self.batch_column])
        names[is_none(names)] = "(missing)"
        return names

    @functools.cached_property
    def batch_names(self) -> tuple[str, ...]:
        """Batch names, sorted; () without a batch column."""
        return tuple(sorted(set(self._batch))) if self.batch_column else ()

    @functools.cached_property
    def batch(self) -> Int32[ndarray, " cell"]:
        """Batch codes; all 0 without a batch column."""
        if not self.batch_column:
            return np.zeros(self.n_cells, np.int32)
        return codes_of(self._batch, self.batch_names)

    @functools.cached_property
    def total(self) -> Float[ndarray, " cell"]:
        """Total counts over all genes measured in the source; 0 for an empty cell."""
        return np.asarray(self.obs[TOTAL], dtype=np.float64)

    @functools.cached_property
    def split(self) -> Shaped[ndarray, " cell"]:
        """`"train"`, `"calibration"` or `"validation"`."""
        return np.asarray(self.obs[SPLIT].astype(str), dtype=object)

    @property
    def kept(self) -> Bool[ndarray, " cell"]:
        """Whether QC keeps each cell; all where `qc` has written no mask."""
        if KEPT not in self.obs.columns:
            return np.ones(self.n_cells, bool)
        return np.array(self.obs[KEPT], dtype=bool)

    @functools.cached_property
    def kept_genes(self) -> Bool[ndarray, " gene"]:
        """Whether QC keeps each gene; all where `qc` has written no mask."""
        root, _ = open_root(self.path)
        if f"var/{KEPT}" not in root:
            return np.ones(self.n_genes, bool)
        with damage_named(self.path):
            return np.array(read_element(root[f"var/{KEPT}"]), dtype=bool)

    def rows(self, split: str | None = None, *, labelled: bool | None = None) -> Rows:
        """Sorted rows that QC keeps: of a split (None: all), with a label, without one, or (None) both."""
        if split is not None and split not in ("train", "calibration", "validation"):
            raise ValueError(f'split is "train", "calibration" or "validation"; got {split!r}.')
        mask = self.kept if split is None else self.kept & (self.split == split)
        if labelled is not None:
            mask = mask & ((self.label >= 0) == labelled)
        return np.flatnonzero(mask).astype(np.int64)

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
        if column in self.obs.columns and column not in ours:
            raise ColumnError(
                f'{self.path}: obs column "{column}" came with the data and is not written over. Pass another name.'
            )
        values = self.labels.shown()
        names = sorted({name for name in values if name is not None})
        cells = pd.Categorical.from_codes(codes_of(values, tuple(names)), categories=pd.Index(names, dtype=object))
        replace_element(self.folder, self.uuid, "obs", column, cells, marks={"livelatent": "labels"})
        self.obs[column] = cells

    def obs_columns_of_labels(self) -> tuple[str, ...]:
        """The obs columns that `write_labels` wrote."""
        found = []
        for file in sorted((self.folder / "obs").glob("*/zarr.json")):
            if json.loads(file.read_bytes()).get("attributes", {}).get("livelatent") == "labels":
                found.append(file.parent.name)
        return tuple(found)

    @functools.cached_property
    def labels(self) -> LabelJournal:
        """The journal of labels given by hand: beside the store, or in the folder that `open(labels=...)` named."""
        beside_it = beside(self.path, "labels") if isinstance(self.path, Path) else None
        return LabelJournal(
            self._labels_folder or beside_it,
            np.asarray(self.obs["source"].astype(str), dtype=object),
            np.asarray(self.obs["source_row"], dtype=np.int64),
            self._written_labels,
            names=np.asarray(self.obs["barcode"] if "barcode" in self.obs else self.obs.index, dtype=object),
            sources=sources_of(self._facts),
        )


def _obsm_name(name: str) -> str:
    if not is_storable(name) or name.startswith("."):
        raise ColumnError(f"an obsm name has no slash and no dot before it, and is none of Zarr's; got {name!r}.")
    return name
