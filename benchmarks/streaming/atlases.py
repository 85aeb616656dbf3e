"""The atlases that are streamed, each made once per work folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ingest import Atlas, made

from streaming.process import into_page_cache, measured

LABEL, BATCH, UNLABELLED = "cell_type", "batch", ("unassigned",)
FULL, HVG = "full", "hvg"


class Files(NamedTuple):
    """One atlas as a source, as our store and as annbatch's."""

    source: Path
    ours: Path
    annbatch: Path


@dataclass(frozen=True)
class Bench:
    """What is asked of a run."""

    work: Path
    rounds: int
    is_quick: bool
    skipped: tuple[str, ...] = ()
    """Of the loaders' section: "scDataset", "one core"."""

    @property
    def atlases(self) -> dict[str, Atlas]:
        """All genes of a fifth of the cells, and the variable ones of all."""
        cells = 100_000 if self.is_quick else 1_000_000
        return {FULL: Atlas(cells // 5, 20_000, 1_350), HVG: Atlas(cells, 2_000, 207)}

    def files(self, atlas: Atlas) -> Files:
        """Of an atlas, made where they are not there yet, and in the page cache."""
        source = made(self.work, atlas, gzip=False)
        files = Files(source, *(self.work / f"{atlas.name}{kind}.zarr" for kind in ("", ".annbatch")))
        for who, target in (("ours", files.ours), ("annbatch", files.annbatch)):
            if not target.exists():
                measured("store", who=who, source=source, target=target)
        for path in files:
            into_page_cache(path)
        return files

    def store(self, n_cells: int, n_genes: int = 2_000, values_per_cell: int = 207) -> Path:
        """Our store of an atlas of any size."""
        atlas = Atlas(n_cells, n_genes, values_per_cell)
        source, target = made(self.work, atlas, gzip=False), self.work / f"{atlas.name}.zarr"
        if not target.exists():
            measured("store", who="ours", source=source, target=target)
        into_page_cache(target)
        return target

    def tiny(self, atlas: Atlas) -> Path:
        """A store with the same genes, to warm up on."""
        return self.store(3_000, atlas.genes, atlas.values_per_cell)


def store(who: str, source: str, target: str) -> dict[str, Any]:
    """Write one store; each tool as its documentation has it, its own defaults for all sizes."""
    if who == "ours":
        import livelatent as ll

        ll.ingest(source, target, label=LABEL, batch=BATCH, unlabelled=list(UNLABELLED), memory="4GB")
        return {}
    import numpy as np
    import zarr
    from annbatch import DatasetCollection

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    aside = Path(target).with_name(f"making-{Path(target).name}")
    DatasetCollection(str(aside)).add_adatas([source], rng=np.random.default_rng(0))
    aside.rename(target)
    return {}
