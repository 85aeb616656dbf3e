import numpy as np
import pytest

from livelatent.errors import GeneMismatchError
from livelatent.judge.expression import gene_indices, log_genes, stratified_rows
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream


def test_values_are_those_that_the_stream_delivers_missing_genes_too(tiny_atlas):
    rows = np.array([2, 3, 77, 400, 606])
    names = ("GENE7", "not there", "GENE299", "GENE0")
    with Stream(tiny_atlas, rows, StreamConfig(shuffle=False), genes=list(names), mean_total=250.0) as stream:
        (minibatch,) = stream.minibatches(0)
    got = log_genes(tiny_atlas, rows, gene_indices(tiny_atlas, names), 250.0).toarray()
    np.testing.assert_allclose(got, minibatch.x.numpy(), rtol=1e-6)
    assert not got[:, 1].any()


def test_more_than_half_of_the_genes_missing_is_refused(tiny_atlas):
    with pytest.raises(GeneMismatchError, match=r"2 of the model's 3 genes are missing \(first: ENSG1, ENSG2\)"):
        gene_indices(tiny_atlas, ("ENSG1", "GENE1", "ENSG2"))


@pytest.mark.parametrize("n_cells", [40, 100, 5000])
def test_a_stratified_sample_keeps_rare_types_whole_and_shares_of_the_others(n_cells):
    label = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, -1], [900, 300, 4, 50]))
    rows = stratified_rows(label, n_cells, seed=1)
    count = np.bincount(label[rows], minlength=3)
    assert (label[rows] >= 0).all()
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= n_cells
    assert count[2] == 4
    if n_cells < 1204:
        assert len(rows) >= n_cells - 3
        assert count[1] >= n_cells // 6
        assert count[0] > count[1]
