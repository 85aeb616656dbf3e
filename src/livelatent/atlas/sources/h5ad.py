"""AnnData in HDF5: `.h5ad`."""

from pathlib import Path

from livelatent.atlas.sources.anndata_group import anndata_source
from livelatent.atlas.sources.fingerprints import fingerprint_of_files
from livelatent.atlas.sources.hdf5 import Hdf5File, check_safe
from livelatent.atlas.sources.source import Source


def open_h5ad(path: Path, *, counts: str, gene_names: str | None, name: str, kind: str = "h5ad") -> list[Source]:
    """The one source that a `.h5ad` is."""
    container = Hdf5File(path)
    with container.opened() as root:
        check_safe(path, root)
        return [
            anndata_source(
                container,
                root,
                name=name,
                kind=kind,
                counts=counts,
                gene_names=gene_names,
                fingerprint=fingerprint_of_files([path], path.parent),
            )
        ]
