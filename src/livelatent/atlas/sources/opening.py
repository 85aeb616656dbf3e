"""What a path is, and the sources in it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from livelatent.atlas.sources.annbatch import datasets_in, open_annbatch
from livelatent.atlas.sources.faults import WAY_OUT, faults_named
from livelatent.atlas.sources.fingerprints import is_zarr
from livelatent.atlas.sources.h5ad import open_h5ad
from livelatent.atlas.sources.hdf5 import Hdf5File
from livelatent.atlas.sources.matrix_market import open_matrix_market
from livelatent.atlas.sources.memory import open_adata
from livelatent.atlas.sources.probe import PROBE
from livelatent.atlas.sources.source import Source
from livelatent.atlas.sources.tenx_h5 import matrices_in, open_tenx_h5
from livelatent.atlas.sources.trio import is_matrix, trios_in
from livelatent.atlas.sources.zarr import open_zarr, root_attributes
from livelatent.errors import SourceError
from livelatent.paths import local_path

if TYPE_CHECKING:
    from anndata import AnnData


def open_sources(
    path: "str | os.PathLike[str] | AnnData",
    *,
    counts: str = "X",
    gene_names: str | None = None,
    name: str | None = None,
) -> list[Source]:
    """Look at what a path is, and describe the sources in it without reading their matrices.

    An AnnData in memory is a source as well, by default under a name made of a hash of its cells' names.

    Parameters
    ----------
    counts
        `"X"`, `"raw"`, or a layer's name.
    gene_names
        The var column that names the genes, such as `"gene_ids"`; None is the index.
    name
        What the source is called in a store; the file's or folder's name where not given.

    Returns
    -------
    One source; of a folder that holds several (an annbatch collection), each as `NAME/PART`.

    Raises
    ------
    SourceError
        If it is absent, truncated, of no known format, or leads outside itself.
    GeneMismatchError
        If genes have no name.
    CountsError
        If the matrix holds no numbers.
    """
    if not isinstance(path, str | os.PathLike):
        return [open_adata(path, counts=counts, gene_names=gene_names, name=name)]
    path = local_path(path, SourceError)
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path, seen from {Path.cwd()}.")
    name = name or path.name
    open_it = opener_of(path)
    return open_it(path, counts=counts, gene_names=gene_names, name=name)


def opener_of(path: Path) -> Callable[..., list[Source]]:
    """What reads this path, by what is in it; the name of a file is not asked, only a folder's parts are."""
    with faults_named(path):
        return opener_of_folder(path) if path.is_dir() else opener_of_file(path)


def opener_of_folder(path: Path) -> Callable[..., list[Source]]:
    """Zarr, a collection, or Matrix Market."""
    if is_zarr(path):
        kind = str(root_attributes(path).get("encoding-type"))
        return open_annbatch if kind.startswith("annbatch") and datasets_in(path) else open_zarr
    if trios_in(path):
        return open_matrix_market
    if datasets_in(path):
        return open_annbatch
    inside = sorted(entry.name for entry in path.iterdir())
    raise SourceError(
        f"{path} is a folder of no kind that is read here: an AnnData's Zarr store (`zarr.json` or `.zgroup`), a 10x "
        "folder (`matrix.mtx` with `features.tsv` and `barcodes.tsv`), or an annbatch collection (`dataset_0`, ...). "
        f"It has: {', '.join(inside[:5]) or 'nothing'}{', ...' if len(inside) > 5 else ''}."
    )


def opener_of_file(path: Path) -> Callable[..., list[Source]]:
    """`.h5ad`, 10x `.h5`, or one Matrix Market file."""
    if not path.is_file():
        raise SourceError(f"{path} is no plain file. Name a file or folder.")
    with open(path, "rb") as file:
        start = file.read(16)
    if is_matrix(path):
        return open_matrix_market
    for magic, what in ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip")):
        if start.startswith(magic):
            raise SourceError(f"{path} is packed with {what}. Unpack it, and name what comes out.")
    PROBE.check(path)
    with Hdf5File(path).opened() as root:
        has = set(root)
        if not {"obs", "var"} & has and matrices_in(root):
            return open_tenx_h5
    if {"obs", "var"} <= has:
        return open_h5ad
    missing = " and ".join(f"`{part}`" for part in ("obs", "var") if part not in has)
    loom = " It looks like a loom file: `anndata.io.read_loom` reads it." if {"row_attrs", "col_attrs"} <= has else ""
    raise SourceError(f"{path} is no AnnData file: it has no group {missing}.{loom} {WAY_OUT}")
