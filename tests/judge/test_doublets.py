import numpy as np
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from livelatent.judge.doublets import fit_doublets
from livelatent.judge.projection import Projection

GENES = 60
MEAN_TOTAL = 300.0


def droplets(label, rng):
    """Counts of cells of three types, each with 12 genes of its own."""
    profile = np.full((3, GENES), 0.5)
    for kind in range(3):
        profile[kind, 12 * kind : 12 * (kind + 1)] = 15.0
    depth = rng.lognormal(0, 0.2, len(label))
    return rng.poisson(profile[label] * depth[:, None]).astype(float)


def log(counts):
    return sp.csr_matrix(np.log1p(counts * MEAN_TOTAL / counts.sum(axis=1, keepdims=True)), dtype=np.float32)


def fitted():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [300, 200, 80])
    counts = droplets(label, rng)
    x = log(counts).toarray()
    components = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:5]
    projection = Projection(components.astype(np.float32), x.mean(axis=0))
    return fit_doublets(log(counts), counts.sum(axis=1), label, projection), projection


def test_two_cells_in_one_droplet_score_higher_than_one_and_their_types_are_named():
    doublets, projection = fitted()
    rng = np.random.default_rng(1)
    single = projection(log(droplets(np.repeat([0, 1, 2], 40), rng)))
    both = projection(log(droplets(np.full(50, 2), rng) + droplets(np.full(50, 0), rng)))
    score = np.r_[doublets.score(single), doublets.score(both)]
    assert roc_auc_score(np.arange(170) >= 120, score) > 0.95
    assert doublets.likely_parents(both) == (0, 2)


def test_a_made_cell_is_the_log_of_the_sum_of_two_cells_counts():
    rng = np.random.default_rng(3)
    label = np.array([0, 1])
    counts = droplets(label, rng)
    identity = Projection(np.eye(GENES, dtype=np.float32), np.zeros(GENES, np.float32))
    doublets = fit_doublets(log(counts), counts.sum(axis=1), label, identity, seed=1)
    sums = {pair: log((counts[pair[0]] + counts[pair[1]])[None]).toarray()[0] for pair in ((0, 0), (0, 1), (1, 1))}
    for made, parents in zip(doublets.points, doublets.parents, strict=False):
        np.testing.assert_allclose(made, sums[tuple(parents)], rtol=1e-5)
    np.testing.assert_allclose(doublets.points[2:], log(counts).toarray(), rtol=1e-6)


def test_cells_far_from_any_mixture_have_no_parents_of_two_types():
    doublets, _ = fitted()
    one_type = doublets.parents[:, 0] == doublets.parents[:, 1]
    assert one_type.any()
    # Type 0 has most cells: what lies beyond it is nearest to pairs of its own.
    beyond = 3 * doublets.points[np.flatnonzero(one_type & (doublets.parents[:, 0] == 0))[:5]]
    assert doublets.likely_parents(beyond) is None or doublets.likely_parents(beyond)[0] == 0
