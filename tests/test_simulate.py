"""Simulated atlases have the structure that they claim, and a seed fixes them."""

from pathlib import Path

import anndata
import numpy as np

from livelatent.simulate import simulate_h5ad


def test_a_seed_fixes_the_matrix(tmp_path: Path) -> None:
    parts = [simulate_h5ad(tmp_path / f"{k}.h5ad", 300, 120, 4, 2, seed) for k, seed in enumerate((1, 1, 2))]
    one, same, other = (anndata.read_h5ad(path) for path in parts)
    assert (one.X != same.X).nnz == 0 and one.obs.equals(same.obs)
    assert (one.X != other.X).nnz > 0


def test_types_have_markers_batches_have_depths_and_the_last_gene_is_zero(tmp_path: Path) -> None:
    adata = anndata.read_h5ad(simulate_h5ad(tmp_path / "a.h5ad", 2000, 200, 4, 2, 0, rare=[3], hidden=[1]))
    counts = adata.X.toarray()
    assert (counts == np.floor(counts)).all() and counts.min() == 0 and (counts[:, -1] == 0).all()
    truth = adata.obs["true_type"].to_numpy().astype(str)
    assert set(truth) == {"type 0", "type 1", "type 2", "type 3"}
    share = np.unique(truth, return_counts=True)[1] / 2000
    assert share[3] < 0.05 < share[:3].min()
    assert ((adata.obs["cell_type"] == "unknown") == (truth == "type 1")).all()
    x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1000)
    for kind in sorted(set(truth)):
        lead = x[truth == kind].mean(axis=0) - x[truth != kind].mean(axis=0)
        assert (lead > np.log(1.7)).sum() >= 3
    variance, mean = counts[truth == "type 0"].var(axis=0), counts[truth == "type 0"].mean(axis=0)
    assert np.median(variance[mean > 1] / mean[mean > 1]) > 1.3


def test_the_mean_total_is_about_what_was_asked(tmp_path: Path) -> None:
    adata = anndata.read_h5ad(simulate_h5ad(tmp_path / "a.h5ad", 1000, 100, mean_total=5000))
    assert 3500 < adata.X.sum() / 1000 < 6500
