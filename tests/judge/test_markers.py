import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.sparse as sp

from livelatent.atlas.group_sums import gene_sums
from livelatent.errors import LabelError
from livelatent.judge.markers import marker_genes, marker_table


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, -1], [30, 45, 10])
    counts = rng.poisson(2.0, (85, 12)).astype(np.float32)
    counts[:, 11] = 0
    counts[label == 0, 2] *= 4
    counts[label == 0, 5] //= 4
    return sp.csr_matrix(np.log1p(counts)), label


def test_the_t_test_is_scanpys(cells):
    x, label = cells
    sums = gene_sums(x, label, 2)
    got = marker_table(sums, 0, sums, 1, [f"g{i}" for i in range(12)]).set_index("names")
    known = label >= 0
    obs = pd.DataFrame({"kind": pd.Categorical(label[known].astype(str))}, index=[f"c{i}" for i in range(75)])
    adata = anndata.AnnData(x[known], obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(12)]))
    with warnings.catch_warnings():
        # scanpy 1.12 uses what pandas 3.1 is about to remove.
        warnings.simplefilter("ignore")
        scanpy.tl.rank_genes_groups(adata, "kind", groups=["0"], reference="1", method="t-test")
        wanted = scanpy.get.rank_genes_groups_df(adata, "0").set_index("names").loc[got.index]
    np.testing.assert_allclose(got["scores"], wanted["scores"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got["pvals"], wanted["pvals"], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(got["pvals_adj"], wanted["pvals_adj"], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(got["logfoldchanges"], wanted["logfoldchanges"], rtol=1e-4, atol=1e-5)


def test_sums_of_chunks_are_the_sums_of_all(cells):
    x, label = cells
    whole, parts = gene_sums(x, label, 2), gene_sums(x[:31], label[:31], 2) + gene_sums(x[31:], label[31:], 2)
    assert whole.n_cells.tolist() == parts.n_cells.tolist() == [30, 45]
    np.testing.assert_allclose(whole.total, parts.total)
    np.testing.assert_allclose(whole.squares, parts.squares)


def test_markers_are_the_genes_made_higher_and_lower(cells):
    sums = gene_sums(*cells, 2)
    assert marker_genes(marker_table(sums, 0, sums, 1, [f"g{i}" for i in range(12)])) == (("g2",), ("g5",))


def test_one_cell_is_no_group(cells):
    one = gene_sums(cells[0][:1], np.array([0]), 1)
    with pytest.raises(LabelError, match="at least 2 cells"):
        marker_table(one, 0, gene_sums(*cells, 2), 1, list("abcdefghijkl"))
