import numpy as np
import pytest

from livelatent.atlas.passes import size_factor
from livelatent.stream import kernels


@pytest.mark.parametrize("counts", [np.uint16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("genes", [np.uint16, np.int32])
def test_scatter_equals_dense_numpy(counts, genes):
    rng = np.random.default_rng(3)
    dense = rng.poisson(0.7, (11, 17)).astype(counts)
    dense[4] = 0
    rows, columns = np.nonzero(dense)
    start = np.searchsorted(rows, np.arange(11))
    stop = np.searchsorted(rows, np.arange(11), side="right")
    pick = np.array([7, 0, 4, 10])  # neither sorted nor complete
    gene_map = np.full(17, -1, np.int32)
    wanted_genes = np.array([16, 2, 5, 9])
    gene_map[wanted_genes] = np.arange(4)
    scale = size_factor(dense.sum(1).astype(np.float64), 8.0)[pick]
    out = np.zeros((4, 5), np.float32)  # its last column is a gene that the store lacks
    own = (dense[rows, columns], columns.astype(genes), start[pick], stop[pick], gene_map)
    kernels.scatter_logs(*own, scale, np.arange(4), out)
    total = np.maximum(dense.sum(1, keepdims=True, dtype=np.float64), 1)
    wanted = np.log1p(dense * 8.0 / total)[pick][:, wanted_genes]
    np.testing.assert_allclose(out[:, :4], wanted, rtol=1e-6)
    assert (out[:, 4] == 0).all()
    assert (out[2] == 0).all()
