"""10x Matrix Market folders: three text files, read block of lines by block of lines."""

import csv
import io
import itertools
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.sources.anndata_group import named_genes
from livelatent.atlas.sources.csc import RowFiles
from livelatent.atlas.sources.faults import brief, faults_named
from livelatent.atlas.sources.fingerprints import fingerprint_of_trio
from livelatent.atlas.sources.source import Csr, Source
from livelatent.atlas.sources.tenx_h5 import GENES, features_left
from livelatent.atlas.sources.text import line_blocks, text_lines
from livelatent.atlas.sources.trio import Trio, trio_of, trios_in
from livelatent.errors import ColumnError, SourceError

MOST_FEATURES = 10_000_000
MOST_PACKED, SHORTEST_LINE = 1100, 6
"""gzip packs 1032 bytes into one at most; an entry is `1 1 1` and a line end at least."""


def open_matrix_market(path: Path, *, counts: str, gene_names: str | None, name: str) -> list[Source]:
    """One source for each matrix: of a folder, or the one file."""
    matrices = trios_in(path) if path.is_dir() else [path]
    if counts != "X":
        raise SourceError(f"{path} is a Matrix Market folder, which has one matrix: leave `counts` out.")
    if len(matrices) == 1:
        return [open_trio(trio_of(matrices[0]), path=path, name=name, gene_names=gene_names)]
    trios = [trio_of(matrix) for matrix in matrices]
    return [
        open_trio(trio, path=trio.matrix, name=f"{name}/{trio.prefix.rstrip('_.-') or 'matrix'}", gene_names=gene_names)
        for trio in trios
    ]


def open_trio(trio: Trio, *, path: Path, name: str, gene_names: str | None) -> Source:
    """Describe one matrix; its header alone is read of it."""
    with faults_named(trio.features):
        var, kinds = read_features(trio.features)
    n_barcodes = sum(1 for _ in text_lines(trio.barcodes))
    header = read_header(trio.matrix)
    if (header.n_rows, header.n_columns) == (len(var), n_barcodes):
        cells_first = False
    elif (header.n_rows, header.n_columns) == (n_barcodes, len(var)):
        cells_first = True
    else:
        raise SourceError(
            f"{trio.matrix} is {header.n_rows} x {header.n_columns}, but {trio.features.name} has {len(var)} features "
            f"and {trio.barcodes.name} {n_barcodes} barcodes. Are they of one export? Get the files again."
        )
    kept = np.flatnonzero(kinds == GENES)
    if not (n_barcodes and kept.size):
        raise SourceError(
            f"{trio.matrix} has {n_barcodes} cells and {kept.size} features of the type {GENES!r} among {len(var)} "
            f"(types: {', '.join(sorted(set(kinds))) or 'none'}), so there is nothing to ingest."
        )
    place = np.full(len(var), -1, np.int32)
    place[kept] = np.arange(kept.size)
    var = var.iloc[kept].reset_index(drop=True)
    genes, var = named_genes(trio.features, "features", var.pop("name"), var, gene_names)
    fingerprint = fingerprint_of_trio(trio.matrix)
    matrix = MarketMatrix(
        path=trio.matrix, header=header, cells_first=cells_first, place=place, stamp=fingerprint.sha256
    )
    return Source(
        path=path,
        name=name,
        kind="matrix market",
        genes=genes,
        var=var,
        obs=Barcodes(trio.barcodes, n_barcodes),
        counts=matrix,
        layers={},
        obsm={},
        left=tuple(features_left(kinds)),
        elsewhere="",
        fingerprint=fingerprint,
    )


@dataclass(frozen=True)
class Barcodes:
    """Obs of a folder: the names of its cells."""

    path: Path
    n_rows: int
    columns: tuple[str, ...] = ()

    def names(self) -> ndarray:
        """The first field of each line."""
        names = [line.split("\t", 1)[0] for line in text_lines(self.path)]
        if len(names) != self.n_rows:
            raise SourceError(f"{self.path} was changed while it was read. Ingest it again when it is complete.")
        return np.array(names, dtype=object)

    def column(self, name: str) -> "pd.Series[Any]":
        """None has any."""
        raise ColumnError(f"{self.path} names cells and nothing else; there is no column {name!r}.")


@dataclass(frozen=True)
class Header:
    """The first lines of a Matrix Market file."""

    n_rows: int
    n_columns: int
    n_elements: int
    is_integer: bool
    n_lines: int


@dataclass(frozen=True, kw_only=True)
class MarketMatrix:
    """The matrix; its lines may come in any order, so they pass through files in `scratch`."""

    path: Path
    header: Header
    cells_first: bool
    place: ndarray
    """For each feature its place among the genes, or -1."""
    stamp: str

    @property
    def where(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def n_elements(self) -> int:
        """Those of all features, a bound."""
        return self.header.n_elements

    @property
    def scratch_bytes(self) -> int:
        """Room that `chunks` takes on disk."""
        return 16 * self.header.n_elements

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        n_cells = self.header.n_rows if self.cells_first else self.header.n_columns
        files = RowFiles(scratch, n_cells, self.place.size, self.header.n_elements, max_elements)
        of = f"{self.stamp} {self.where}"
        if not files.found(of):
            files.start(np.dtype(np.int64 if self.header.is_integer else np.float64))
            for row, column, value in self.blocks():
                cell, feature = (row, column) if self.cells_first else (column, row)
                gene = self.place[feature]
                kept = gene >= 0
                if kept.all():
                    files.add(cell, gene, value)
                else:
                    files.add(cell[kept], gene[kept], value[kept])
            files.finish(of)
        yield from files.chunks(first_row)
        shutil.rmtree(scratch, ignore_errors=True)

    def blocks(self) -> Iterator[tuple[ndarray, ndarray, ndarray]]:
        """Rows and columns from 0 and values, some thousand lines at a time."""
        line, n_read = self.header.n_lines, 0
        for text in line_blocks(self.path, self.header.n_lines):
            row, column, value = parsed(self.path, text, line, self.header.is_integer)
            for name, found, length in (("row", row, self.header.n_rows), ("column", column, self.header.n_columns)):
                outside = (found < 1) | (found > length)
                if outside.any():
                    at = int(np.flatnonzero(outside)[0])
                    raise SourceError(
                        f"{self.path}: after line {line}, entry {at + 1}: {name} {int(found[at])} lies outside "
                        f"1..{length}. The file is damaged; get it again."
                    )
            line += text.count(b"\n")
            n_read += row.size
            yield row - 1, column - 1, value
        if n_read != self.header.n_elements:
            raise SourceError(
                f"{self.path} has {n_read} entries, its header says {self.header.n_elements}. It is truncated or "
                "damaged; get it again."
            )


def parsed(path: Path, text: bytes, line: int, is_integer: bool) -> tuple[ndarray, ndarray, ndarray]:
    """The three numbers of each line.

    scipy's `mmread` is as fast, but takes 1.5 for the integer 1 and was seen to end in a segmentation fault on a zero
    byte (scipy 1.18.1).
    """
    kinds = {"row": np.int64, "column": np.int64, "value": np.int64 if is_integer else np.float64, "more": np.float64}
    try:
        table = pd.read_csv(
            io.BytesIO(text),
            sep=r"\s+",
            header=None,
            names=list(kinds),
            dtype=cast(Any, kinds),
            comment="%",
            quoting=csv.QUOTE_NONE,
            engine="c",
            index_col=False,
        )
    except pd.errors.EmptyDataError:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, kinds["value"])
    except (ValueError, OverflowError) as error:
        wanted = "whole numbers" if is_integer else "two whole numbers and a value"
        raise SourceError(
            f"{path}: lines after {line} can't be read: three {wanted} a line were wanted ({brief(error)}). The file "
            "is damaged; get it again."
        ) from error
    if table["more"].notna().any():
        at = int(np.flatnonzero(table["more"].notna())[0])
        raise SourceError(f"{path}: after line {line}, entry {at + 1} has more than three fields. Get the file again.")
    return table["row"].to_numpy(), table["column"].to_numpy(), table["value"].to_numpy()


def read_header(path: Path) -> Header:
    """The banner and the sizes."""
    wanted = "%%MatrixMarket matrix coordinate integer|real general"
    n_lines, banner = 0, ""
    for line in text_lines(path, keep_empty=True):
        n_lines += 1
        if n_lines == 1:
            banner = line
            words = line.lower().split()
            if words[:3] != ["%%matrixmarket", "matrix", "coordinate"] or len(words) != 5:
                raise SourceError(f"{path} begins with {line[:80]!r}; {wanted!r} was wanted. Get the file again.")
            if words[3] not in ("integer", "real") or words[4] != "general":
                raise SourceError(f"{path} holds a {words[3]} {words[4]} matrix; {wanted!r} was wanted.")
        elif line.strip() and not line.startswith("%"):
            sizes = line.split()
            if len(sizes) != 3 or not all(re.fullmatch("[0-9]{1,18}", size) for size in sizes):
                raise SourceError(
                    f"{path}: line {n_lines} is {line[:80]!r}; rows, columns and entries were wanted. Get it again."
                )
            n_rows, n_columns, n_elements = map(int, sizes)
            most = path.stat().st_size * MOST_PACKED // SHORTEST_LINE
            if n_elements > min(most, n_rows * n_columns):
                raise SourceError(
                    f"{path} says it has {n_elements} entries in {n_rows} x {n_columns}, which can't be. Get it again."
                )
            return Header(n_rows, n_columns, n_elements, banner.lower().split()[3] == "integer", n_lines)
    raise SourceError(f"{path} ends before its sizes. It is truncated; get it again.")


def read_features(path: Path) -> tuple[pd.DataFrame, ndarray]:
    """Gene columns and the type of each feature: genes where the file has no third column."""
    rows = [line.split("\t") for line in itertools.islice(text_lines(path), MOST_FEATURES + 1)]
    if len(rows) > MOST_FEATURES:
        raise SourceError(f"{path} has more than {MOST_FEATURES} features, which no assay has. Get the file again.")
    n_fields = len(rows[0]) if rows else 0
    odd = next((i for i, row in enumerate(rows) if len(row) != n_fields), None)
    if odd is not None:
        raise SourceError(
            f"{path}: row {odd + 1} has {len(rows[odd])} fields, those before it {n_fields}. Get the file again."
        )
    ids = [row[0] for row in rows]
    names = [row[1] if len(row) > 1 else row[0] for row in rows]
    kinds = np.array([row[2] if len(row) > 2 else GENES for row in rows] or [], dtype=object)
    return pd.DataFrame({"gene_ids": ids, "name": names, "feature_types": kinds}, dtype=object), kinds
