"""What a path is, and the sources in it."""

import os
from pathlib import Path

from livelatent.atlas.sources.faults import WAY_OUT
from livelatent.atlas.sources.h5ad import open_h5ad
from livelatent.atlas.sources.hdf5 import Hdf5File
from livelatent.atlas.sources.source import Source
from livelatent.errors import SourceError
from livelatent.paths import local_path


def open_sources(
    path: str | os.PathLike[str],
    *,
    counts: str = "X",
    gene_names: str | None = None,
    name: str | None = None,
) -> list[Source]:
    """Look at what a path is, and describe the sources in it without reading their matrices.

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
    path = local_path(path, SourceError)
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path, seen from {Path.cwd()}.")
    name = name or path.name
    if path.is_dir():
        raise SourceError(f"{path} is a folder of no known format.")
    return open_file(path, counts=counts, gene_names=gene_names, name=name)


def open_file(path: Path, *, counts: str, gene_names: str | None, name: str) -> list[Source]:
    """A file, by what is in it; its name is not asked."""
    with Hdf5File(path).opened() as root:
        has = set(root)
    if {"obs", "var"} <= has:
        return open_h5ad(path, counts=counts, gene_names=gene_names, name=name)
    missing = " and ".join(f"`{part}`" for part in ("obs", "var") if part not in has)
    raise SourceError(f"{path} is no AnnData file: it has no group {missing}. {WAY_OUT}")
