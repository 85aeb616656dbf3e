"""ForeignAtlas: files that livelatent did not write, streamed as they are."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray

from livelatent.arrays import rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.build import sources_json
from livelatent.atlas.building.joined_obs import check_identity, joined_obs, resolved_column
from livelatent.atlas.cells import SPLITS
from livelatent.atlas.columns import named
from livelatent.atlas.elements import quiet_anndata
from livelatent.atlas.foreign_matrix import ForeignMatrix
from livelatent.atlas.foreign_obsm import ForeignObsm
from livelatent.atlas.genes import repeated_genes
from livelatent.atlas.hashed_split import hashed_split
from livelatent.atlas.labels import LabelJournal, sources_of
from livelatent.atlas.layout import text_index
from livelatent.atlas.sources import Source, open_sources
from livelatent.errors import GeneMismatchError, LabelError, SourceError, StoreError
from livelatent.paths import local_path, store_path
from livelatent.progress import CellProgress

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("h5ad", "zarr", "annbatch")


def open_foreign(
    path: str | os.PathLike[str],
    *,
    counts: str = "X",
    label: str | None = None,
    batch: str | None = None,
    unlabelled: Sequence[str] = (),
    gene_names: str | None = None,
    journal: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: CellProgress | bool | None = None,
) -> "ForeignAtlas":
    """Open a file as it is, to stream it, train on it and embed it, without ingesting it first.

    Parameters
    ----------
    path
        An `.h5ad`, an AnnData's Zarr store (v2 or v3), or an annbatch collection, all of whose datasets are one.
    counts
        Where the counts are: `"X"`, `"raw"`, or a layer's name.
    label, batch
        Obs columns with cell types and with the technical batch (`"source"` is the file's name).
    unlabelled
        Names in the label column that mean "no label".
    gene_names
        The var column that names the genes; the index by default.
    journal
        Folder for labels given by hand; without one none can be given.
    seed
        Of the split, which is a hash of what each cell is.
    progress
        Told of the one pass over all counts that totals take; by default a bar in a terminal or notebook.

    Raises
    ------
    SourceError
        If it can't be read cell by cell: it is damaged, of another kind, or stored by gene.
    GeneMismatchError
        If genes have no name, one name stands for two, or datasets differ in their genes.
    ColumnError
        If there is no such column, or nothing in it.

    Notes
    -----
    An ingested store streams several times as fast, is shuffled (here, neighbours in the file come in one minibatch
    unless blocks are small), is checked once and not as it is read, and has been counted.
    """
    path = store_path(path, SourceError)
    return ForeignAtlas(
        path,
        tuple(open_sources(path, counts=counts, gene_names=gene_names)),
        label=label,
        batch=batch,
        unlabelled=unlabelled,
        journal=None if journal is None else local_path(journal, LabelError).absolute(),
        seed=seed,
        progress=progress,
        counts=counts,
        gene_names=gene_names,
    )


class ForeignAtlas(Atlas):
    """Cells x genes of files that are only read. Open one with `open_foreign(path)`.

    It is what an `Atlas` is, but that nothing can be written to it, that `total` and `mean_total` take a pass over all
    counts (of the matrix's own genes) when they are first asked for, and that QC has masked nothing.
    """

    path: Path
    has_masks = False

    def __init__(
        self,
        path: Path,
        sources: tuple[Source, ...],
        *,
        label: str | None,
        batch: str | None,
        unlabelled: Sequence[str],
        journal: Path | None,
        seed: int,
        progress: CellProgress | bool | None,
        **asked: Any,
    ) -> None:
        check_readable(path, sources)
        self.path = path
        self.sources = sources
        """What it is made of, in the order of its rows."""
        self.n_cells = sum(source.n_cells for source in sources)
        self.genes = np.array(sources[0].genes, dtype=object)
        self.unlabelled = tuple(str(name) for name in unlabelled)
        self.is_shuffled = all(source.kind == "annbatch" for source in sources)
        self._seed = seed
        self._joined = joined_obs(sources)
        check_identity(self._joined)
        self.label_column = resolved_column(self._joined, label, "label")
        self.batch_column = resolved_column(self._joined, batch, "batch")
        self._facts = {"sources": sources_json(sources)}
        self._labels_folder = journal
        self._counts = ForeignMatrix(path, sources, progress)
        self._obsm_rows: dict[str, ForeignObsm] = {}
        self.asked = {
            **asked,
            "label": label,
            "batch": batch,
            "unlabelled": list(self.unlabelled),
            "journal": None if journal is None else str(journal),
            "seed": seed,
        }
        """What `open_foreign` takes, besides the path, to open it again; plain JSON."""

    def __repr__(self) -> str:
        how = "as it lies" if self.is_shuffled else "as it lies: not shuffled, so read in small blocks"
        return f"{super().__repr__()[:-1]}, {how}; ingest it to stream several times as fast)"

    def __reduce__(self) -> tuple[Callable[..., "ForeignAtlas"], tuple[Any, ...], dict[str, Any]]:
        # Other processes (a Dask cluster) open the file themselves.
        fingerprints = tuple(source.fingerprint.sha256 for source in self.sources)
        return _opened_again, (self.path, self.asked, fingerprints), {"given_labels": self.given_labels}

    @functools.cached_property
    def uuid(self) -> str:
        """A hash of the sources' sampled bytes, their counts' place, and the names of their cells."""
        found = hashlib.sha256()
        for source in self.sources:
            found.update(f"{source.name}\0{source.fingerprint.sha256}\0{source.counts.where}\0".encode())
            found.update("\n".join(source.obs.names()).encode(errors="surrogatepass"))
        return found.hexdigest()[:32]

    @property
    def folder(self) -> Path:
        """None: StoreError, since nothing is written to it."""
        raise self._read_only("written to")

    # Cells

    @functools.cached_property
    def obs(self) -> pd.DataFrame:
        """The table of cells, `source` and `source_row` at its end; read when it is first asked for."""
        names = np.concatenate([source.obs.names() for source in self.sources])
        columns = {name: self._column(name).array for name in self._column_names()}
        return pd.DataFrame(columns, index=text_index(names))

    def _column_names(self) -> tuple[str, ...]:
        return (*(name for name in self._joined.columns if name not in IDENTITY), *IDENTITY)

    def _column_or_none(self, name: str) -> "pd.Series[Any] | None":
        if name in IDENTITY:
            return pd.Series(self._joined.identity()[IDENTITY.index(name)])
        if name not in self._joined.columns:
            return None
        column = self._joined.column(name)
        self._counts.check_untouched()
        return column

    @property
    def total(self) -> Float64[ndarray, " cell"]:
        """Total counts over all genes of the matrix; one pass over all counts, when it is first asked for."""
        return self._counts.totals

    @functools.cached_property
    def mean_total(self) -> float:
        """The mean of `total` (L of equation 2.3, docs/equations.md)."""
        return float(self.total.mean())

    @functools.cached_property
    def _splits(self) -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
        sources, rows = self._joined.identity()
        codes = np.empty(self.n_cells, np.int8)
        for code, name in enumerate(sources.categories):
            mine = np.asarray(sources.codes == code)
            codes[mine] = hashed_split(str(name), rows[mine], self._seed)
        return codes, SPLITS

    @functools.cached_property
    def labels(self) -> LabelJournal:
        """The journal of labels given by hand, in the folder that `open_foreign(journal=...)` named."""
        source, row = self._joined.identity()
        return LabelJournal(
            self._labels_folder,
            np.asarray(source, dtype=object),
            row,
            named(self.label, self.label_names),
            names=np.concatenate([each.obs.names() for each in self.sources]),
            sources=sources_of(self._facts),
        )

    # The matrix

    def matrix(self, name: str = "X") -> ForeignMatrix:
        """The counts, whatever they are called in the file."""
        if name not in ("X", self._counts.name):
            raise StoreError(
                f"{self.path} was opened for its counts in `{self._counts.name}`, and `{name}` was asked for. Open it "
                "again with `counts=` naming that, or ingest it to have both."
            )
        return self._counts

    def obsm_rows(self, name: str) -> ForeignObsm:
        """`obsm[name]`, to be read by rows.

        Raises
        ------
        ColumnError
            If there is none of that name, or it is no table of numbers.
        """
        if name not in self._obsm_rows:
            self._obsm_rows[name] = ForeignObsm(self.path, name, self.sources)
        return self._obsm_rows[name]

    def to_anndata(self, rows: object | None = None) -> "AnnData":
        """The cells in memory, with obs and var: in float32, or float64 where float32 would change a value."""
        from anndata import AnnData

        chosen = rows_or_all(rows, self.n_cells)
        with quiet_anndata():
            return AnnData(
                self._counts.in_memory(chosen), obs=self.obs.iloc[chosen].copy(), var=self.sources[0].var.copy()
            )

    def copy_to(self, target: Any, **_: Any) -> Atlas:
        """StoreError: a store is copied, a file is ingested."""
        raise self._read_only("copied as a store")

    def _read_only(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path} was not written by livelatent, so it is read and never {what}. Ingest it: "
            f'livelatent.ingest("{self.path}", "{self.path.stem}.zarr").'
        )


IDENTITY = ("source", "source_row")


def check_readable(path: Path, sources: Sequence[Source]) -> None:
    """Raise where sources are not cells of the same genes, each of one name, that can be read where they lie."""
    for source in sources:
        if source.kind not in KINDS:
            raise SourceError(
                f"{path} is of the kind {source.kind}; an .h5ad, an AnnData's Zarr store or an annbatch collection "
                "can be read as it is. Ingest it."
            )
        twice = repeated_genes(source, source.genes)
        if twice:
            raise GeneMismatchError(
                f"{source.path}: {len(twice)} gene names stand for more than one gene (first: {', '.join(twice[:3])}). "
                'Ingest it with duplicates="sum" to add their counts up, or name genes by their ids '
                '(`gene_names="gene_ids"` where var has such a column).'
            )
        if source.genes != sources[0].genes:
            raise GeneMismatchError(
                f"{source.path} has other genes than {sources[0].path}, or in another order. Ingest the collection, "
                "which joins them by name."
            )


def _opened_again(path: Path, asked: Mapping[str, Any], fingerprints: tuple[str, ...]) -> ForeignAtlas:
    """The same file in another process, where nobody looks at a bar."""
    atlas = open_foreign(path, progress=False, **asked)
    if tuple(source.fingerprint.sha256 for source in atlas.sources) != fingerprints:
        raise StoreError(f"{path} was changed since it was opened. Open it again, and start anew what was under way.")
    return atlas
