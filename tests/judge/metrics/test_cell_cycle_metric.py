import anndata
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from livelatent.errors import GeneMismatchError, UndefinedMetricError
from livelatent.judge.metrics.cell_cycle import cell_cycle
from livelatent.judge.metrics.cycle_scores import cycle_scores
from livelatent.judge.metrics.unintegrated import Unintegrated, unintegrated
from oracles import log_counts

S = tuple(f"GENE{g}" for g in (3, 40, 41, 90, 155, 201, 290))
G2M = ("GENE7", "GENE55", "GENE120", "GENE121", "not there", "GENE250")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # scanpy's own, of its next version
def test_scores_are_scanpys_in_every_group(tiny_atlas, small_chunks):
    import scanpy

    rows = tiny_atlas.rows(labelled=True)
    group = tiny_atlas.batch[rows].astype(np.int64)
    got = cycle_scores(tiny_atlas, rows, {"S": S, "G2M": G2M}, group)
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)
    for code in range(3):
        own = anndata.AnnData(x[group == code])
        own.var_names = list(tiny_atlas.genes)
        scanpy.tl.score_genes_cell_cycle(own, s_genes=list(S), g2m_genes=list(G2M))
        np.testing.assert_allclose(got[group == code], own.obs[["S_score", "G2M_score"]], atol=1e-9)


def test_a_phase_without_a_gene_is_refused(tiny_atlas):
    rows = tiny_atlas.rows()
    with pytest.raises(GeneMismatchError, match=r"tiny\.zarr: none of the 2 G2M genes"):
        cycle_scores(tiny_atlas, rows, {"S": S, "G2M": ["Mki67", "Top2a"]}, np.zeros(len(rows), np.int64))


def explained(points, scores, n_components):
    """Equation 2.27 for two numeric covariates, by scikit-learn."""
    fitted = PCA(n_components, svd_solver="full").fit(points)
    r2 = [LinearRegression().fit(scores, pc).score(scores, pc) for pc in fitted.transform(points).T]
    return (fitted.explained_variance_ * r2).sum() / fitted.explained_variance_.sum()


def test_before_and_conservation_are_scikit_learns_batch_by_batch(tiny_atlas, small_chunks):
    rows, genes = tiny_atlas.rows(labelled=True), np.arange(0, 300, 2)
    before = unintegrated(tiny_atlas, rows, genes=genes, cell_cycle=(S, G2M))
    x, batch = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)[:, genes], tiny_atlas.batch[rows]
    pcs = PCA(50, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(np.abs(before.pcs[:, :5]), np.abs(pcs[:, :5]), atol=1e-3)
    np.testing.assert_allclose((before.pcs.astype(float) ** 2).sum(axis=1), (pcs**2).sum(axis=1), rtol=1e-3)
    # Half of the S score is in this latent, and little of G2/M.
    latent = np.random.default_rng(0).normal(size=(len(rows), 4)) + before.cycle @ [[4.0, 0, 0, 1], [0, 0.5, 0, 0]]
    scores = []
    for code in range(3):
        own = batch == code
        was = explained(x[own], before.cycle[own], 50)
        assert before.cycle_variance[code] == pytest.approx(was, rel=1e-3)
        scores.append(max(0, 1 - abs(explained(latent[own], before.cycle[own], 4) - was) / was))
    assert cell_cycle(before, latent) == pytest.approx(np.mean(scores), abs=1e-3)


def test_half_the_cycle_is_half_conserved_and_a_loss_or_more_than_double_is_nothing():
    scores = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]] * 5)
    noise = np.array([[1.0], [1], [-1], [-1]] * 5)
    batch = np.zeros(20, np.int64)

    def latent(share):  # the first axis is all S, the second is all noise
        return np.concatenate([np.sqrt(share * 2) * scores[:, :1], np.sqrt(1 - share) * noise], axis=1)

    before = Unintegrated(cycle=scores, cycle_batch=batch, cycle_variance={0: 0.4})
    for share, wanted in ((0.4, 1), (0.2, 0.5), (0.6, 0.5), (0.0, 0), (0.9, 0)):
        assert cell_cycle(before, latent(share)) == pytest.approx(wanted)
    assert cell_cycle(before, np.ones((20, 2))) == 0


def test_without_genes_or_a_batch_that_cycles_it_has_no_value():
    with pytest.raises(UndefinedMetricError, match="cycle's genes"):
        cell_cycle(Unintegrated(pcs=np.ones((4, 2))), np.ones((4, 2)))
    no_cycle = Unintegrated(cycle=np.ones((4, 2)), cycle_batch=np.zeros(4, np.int64), cycle_variance={0: 0.0})
    with pytest.raises(UndefinedMetricError, match="there is none"):
        cell_cycle(no_cycle, np.eye(4))
