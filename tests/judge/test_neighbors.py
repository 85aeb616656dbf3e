import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from livelatent.judge import neighbors
from livelatent.judge.neighbors import mean_distance, nearest, unit


@pytest.mark.parametrize("slab_bytes", [1, 5_000, 1 << 20])
def test_neighbours_are_scikit_learns_however_the_cells_are_cut(monkeypatch, slab_bytes):
    monkeypatch.setattr(neighbors, "SLAB_BYTES", slab_bytes)
    rng = np.random.default_rng(0)
    points, reference = rng.normal(size=(83, 6)).astype(np.float32), rng.normal(size=(211, 6)).astype(np.float32)
    distance, index = nearest(points, reference, 7)
    wanted_distance, wanted_index = NearestNeighbors(n_neighbors=7).fit(reference).kneighbors(points)
    np.testing.assert_array_equal(index, wanted_index)
    np.testing.assert_allclose(distance, wanted_distance, rtol=1e-5)


def test_a_point_is_not_its_own_neighbour():
    points = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    cells = np.array([50, 3, 20])
    distance, index = nearest(points[cells], points, 4, own=cells)
    wanted_distance, wanted_index = NearestNeighbors(n_neighbors=4).fit(points).kneighbors()
    np.testing.assert_array_equal(index, wanted_index[cells])
    np.testing.assert_allclose(distance, wanted_distance[cells], rtol=1e-5)


def test_far_from_the_origin_distances_keep_their_digits():
    points = np.random.default_rng(2).normal(size=(40, 3)) + 1000
    distance, _ = nearest(points.astype(np.float32), points.astype(np.float32), 3, own=np.arange(40))
    wanted, _ = NearestNeighbors(n_neighbors=3).fit(points).kneighbors()
    np.testing.assert_allclose(distance, wanted, atol=1e-3)


def test_more_neighbours_than_points_is_refused_and_the_mean_takes_what_there_is():
    points = np.array([[0.0], [1.0], [3.0]], np.float32)
    with pytest.raises(ValueError, match="k = 3 neighbours of 2"):
        nearest(points, points, 3, own=np.arange(3))
    np.testing.assert_allclose(mean_distance(points, points, 10, own=np.arange(3)), [2, 1.5, 2.5])


def test_no_points_have_no_neighbours():
    assert nearest(np.empty((0, 2), np.float32), np.ones((5, 2), np.float32), 2)[0].shape == (0, 2)


def test_unit_rows_have_length_one_and_zero_stays():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)), [[0.6, 0.8], [0, 0]])
