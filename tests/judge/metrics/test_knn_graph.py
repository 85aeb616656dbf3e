import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.knn_graph import knn_graph


def points_of(n_cells=83, seed=0):
    return np.random.default_rng(seed).normal(size=(n_cells, 4)).astype(np.float32)


def test_neighbours_are_scikit_learns_and_the_cell_comes_first():
    points = points_of()
    graph = knn_graph(points, 12)
    distance, index = NearestNeighbors(n_neighbors=12).fit(points).kneighbors(points)
    np.testing.assert_array_equal(graph.index, index)
    np.testing.assert_allclose(graph.distance, distance, rtol=1e-4, atol=1e-6)
    assert (graph.n_cells, graph.n_neighbors, graph.first(5).n_neighbors) == (83, 12, 5)


def test_a_cell_is_its_own_first_neighbour_also_beside_its_doubles():
    points = np.repeat(points_of(20), 3, axis=0)
    graph = knn_graph(points, 5)
    np.testing.assert_array_equal(graph.index[:, 0], np.arange(60))
    assert (np.sort(graph.index[:, :3], axis=1) // 3 == np.arange(60)[:, None] // 3).all()
    np.testing.assert_array_equal(graph.distance[:, :3], 0)


@pytest.mark.parametrize("n_cells", [1, 2, 5])
def test_fewer_cells_than_neighbours_are_all_neighbours(n_cells):
    graph = knn_graph(points_of(n_cells), 9)
    assert np.sort(graph.index, axis=1).tolist() == [list(range(n_cells))] * n_cells


def slow_links(graph):
    """UMAP's links, one cell at a time, the bandwidth by Brent's method."""
    from scipy.optimize import brentq

    n_cells, k = graph.index.shape
    directed = np.zeros((n_cells, n_cells))
    for cell in range(n_cells):
        distance = graph.distance[cell, 1:].astype(np.float64)
        beyond = np.maximum(distance - distance[distance > 0].min(), 0)
        width = brentq(lambda w, d=beyond: np.exp(-d / w).sum() - np.log2(k), 1e-4, 1e4)
        directed[cell, graph.index[cell, 1:]] = np.exp(-beyond / width)
    return directed + directed.T - directed * directed.T


@pytest.mark.parametrize("scale", [0.02, 1.0, 300.0])
def test_links_are_umaps(scale):
    graph = knn_graph(scale * points_of(), 15)
    links = fuzzy_graph(graph).toarray()
    np.testing.assert_allclose(links, slow_links(graph), atol=1e-4)
    np.testing.assert_array_equal(links, links.T)
    np.testing.assert_array_equal(links.diagonal(), 0)


def test_cells_on_one_point_are_fully_linked():
    links = fuzzy_graph(knn_graph(np.ones((6, 3), np.float32), 6)).toarray()
    np.testing.assert_array_equal(links, 1 - np.eye(6))
