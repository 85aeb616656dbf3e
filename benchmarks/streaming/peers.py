"""Other loaders, each as its documentation has it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from streaming.atlases import BATCH, LABEL
from streaming.ours import BLOCK, BUFFER, MINIBATCH, Epochs


def annbatch_epochs(path: Path, *, with_obs: bool) -> Epochs:
    """As its documentation has it: zarrs, and of obs only what training needs, which is what ours delivers too."""
    import anndata as ad
    from annbatch import DatasetCollection

    loader = annbatch_loader(to="torch")
    if with_obs:
        # So that codes keep their meaning, says its documentation.
        with ad.settings.override(remove_unused_categories=False):
            loader.use_collection(DatasetCollection(str(path)), load_adata=matrix_and_labels)
    else:
        loader.add_datasets([ad.io.sparse_dataset(group["X"]) for group in DatasetCollection(str(path))])
    return lambda epoch: (minibatch["X"] for minibatch in loader)


def annbatch_epochs_of_counts(path: Path) -> Epochs:
    """Over our store. What it gives is uint16, so its user must convert.

    The cheapest way found: its SciPy output, cast, then a tensor. `to="torch"` and `.float()`, or a new tensor of
    cast values, took a quarter more CPU at 20,000 genes and two thirds more at 2,000.
    """
    import anndata as ad
    import zarr

    loader = annbatch_loader(to=None)
    with ad.settings.override(remove_unused_categories=False):
        loader.add_adata(matrix_and_labels(zarr.open_group(path, mode="r")))
    return lambda epoch: (csr_tensor(minibatch["X"]) for minibatch in loader)


def annbatch_loader(to: str | None) -> Any:
    import zarr
    from annbatch import Loader

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return Loader(
        batch_size=MINIBATCH,
        chunk_size=BLOCK,
        preload_nchunks=BUFFER // BLOCK,
        shuffle=True,
        rng=np.random.default_rng(0),
        to=to,
    )


def matrix_and_labels(group: Any) -> Any:
    import anndata as ad

    return ad.AnnData(X=ad.io.sparse_dataset(group["X"]), obs=ad.io.read_elem(group["obs"])[[LABEL, BATCH]])


def scdataset_epochs(path: Path, block: int, n_workers: int) -> Epochs:
    """Over the backed source, which is what it is made for; of block 16 as in its documentation, or as all others."""
    import anndata as ad
    from scdataset import BlockShuffling, scDataset
    from torch.utils.data import DataLoader

    factor = BUFFER // MINIBATCH
    cells = scDataset(
        ad.read_h5ad(path, backed="r"),
        BlockShuffling(block_size=block),
        batch_size=MINIBATCH,
        fetch_factor=factor,
        fetch_callback=rows_of,
        batch_transform=csr_tensor,
        seed=0,
    )
    ahead = {"prefetch_factor": factor + 1} if n_workers else {}
    return lambda epoch: iter(DataLoader(cells, batch_size=None, num_workers=n_workers, **ahead))


def rows_of(adata: Any, rows: Any) -> Any:
    return adata.X[rows]


def csr_tensor(matrix: Any) -> Any:
    """A SciPy matrix as a float32 CSR tensor."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data.astype(np.float32, copy=False)),
            size=matrix.shape,
        )
