import random

import igraph
import numpy as np
import pytest
from scipy import sparse

from latents import mixed_latent
from livelatent.judge.metrics.clustering import RESOLUTIONS, best_clustering, leiden
from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.knn_graph import knn_graph


@pytest.fixture(scope="module")
def links():
    return fuzzy_graph(knn_graph(mixed_latent()[0][:250], 15))


def test_resolutions_are_those_of_the_document():
    assert RESOLUTIONS == (
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
        1.1,
        1.2,
        1.3,
        1.4,
        1.5,
        1.6,
        1.7,
        1.8,
        1.9,
        2.0,
    )


def test_two_cliques_and_a_loner_are_three_clusters():
    clique = np.ones((4, 4)) - np.eye(4)
    links = np.zeros((8, 8))
    links[:4, :4], links[4:7, 4:7] = clique, clique[:3, :3]
    links[3, 4] = links[4, 3] = 0.1
    cluster = leiden(sparse.csr_matrix(links), 1.0)
    assert len(set(cluster)) == 3
    assert [len(set(cluster[:4])), len(set(cluster[4:7]))] == [1, 1]


def modularity(links, cluster, resolution):
    """Newman and Girvan's, the slow way."""
    dense, degree = links.toarray(), np.asarray(links.sum(axis=0)).ravel()
    same = cluster[:, None] == cluster[None]
    return ((dense - resolution * np.outer(degree, degree) / degree.sum()) * same).sum() / degree.sum()


@pytest.mark.parametrize("resolution", [0.2, 1.0, 2.0])
def test_no_cell_would_gain_by_moving_to_another_cluster(links, resolution):
    cluster = leiden(links, resolution, seed=3)
    reached = modularity(links, cluster, resolution)
    for cell in np.random.default_rng(0).choice(len(cluster), 25, replace=False):
        for other in range(cluster.max() + 1):
            moved = cluster.copy()
            moved[cell] = other
            assert modularity(links, moved, resolution) <= reached + 1e-6


def test_a_seed_gives_its_clusters_again_and_leaves_every_generator_alone(links):
    random.seed(5)
    igraph.set_random_number_generator(random)
    before = random.getstate()
    first, again = leiden(links, 1.5, seed=1), leiden(links, 1.5, seed=1)
    np.testing.assert_array_equal(first, again)
    assert random.getstate() == before
    igraph.Graph.Erdos_Renyi(n=20, p=0.5)
    assert random.getstate() != before  # igraph draws from Python's generator again, as it does by default


def test_the_clustering_of_highest_nmi_gives_the_ari_too():
    label = np.array([0, 0, 0, 1, 1, 1])
    exact, one, halves = np.array([1, 1, 1, 0, 0, 0]), np.zeros(6, int), np.array([0, 0, 1, 1, 2, 2])
    best = best_clustering([one, halves], label, [0.1, 0.2])
    # Entropies ln 2 and ln 3; what they share is ln 2 less the mean entropy within clusters, ln 2 / 3.
    assert best.resolution == 0.2
    assert best.nmi == pytest.approx((np.log(2) * 2 / 3) / ((np.log(2) + np.log(3)) / 2))
    # Pairs together in both 2, in labels 6, in clusters 3, of 15.
    assert best.ari == pytest.approx((2 - 6 * 3 / 15) / ((6 + 3) / 2 - 6 * 3 / 15))
    best = best_clustering([halves, exact, exact], label, [0.1, 0.2, 0.3])
    assert (best.resolution, best.nmi, best.ari) == (0.2, pytest.approx(1), 1)
