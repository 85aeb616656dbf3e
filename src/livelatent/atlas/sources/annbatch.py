"""annbatch's collections: a folder with shuffled AnnData datasets, each a source of its own."""

import re
from pathlib import Path

from livelatent.atlas.sources.h5ad import open_h5ad
from livelatent.atlas.sources.probe import PROBE
from livelatent.atlas.sources.source import Source
from livelatent.atlas.sources.zarr import open_zarr

DATASET = re.compile(r"dataset_([0-9]+)(\.h5ad)?")


def datasets_in(path: Path) -> list[Path]:
    """The datasets of a collection in their order; none where the folder is no collection."""
    found = [(match, entry) for entry in path.iterdir() if (match := DATASET.fullmatch(entry.name))]
    return [entry for match, entry in sorted(found, key=lambda pair: (int(pair[0][1]), pair[0][0]))]


def open_annbatch(path: Path, *, counts: str, gene_names: str | None, name: str) -> list[Source]:
    """One source for each dataset, named `NAME/dataset_0`, ..."""
    sources: list[Source] = []
    for dataset in datasets_in(path):
        if dataset.is_file():
            PROBE.check(dataset)
        open_one = open_zarr if dataset.is_dir() else open_h5ad
        sources += open_one(
            dataset, counts=counts, gene_names=gene_names, name=f"{name}/{dataset.name}", kind="annbatch"
        )
    return sources
