import numpy as np
import pytest

from livelatent.session.prototype_table import Row, drift_between, prototype_view, similarity_order


def _row(name, centroid, radius=2.0):
    return Row(name=name, count=5, radius=radius, medoid="cell", centroid=np.array(centroid, np.float32))


def test_distances_are_in_mean_radii_of_the_types_alone():
    view = prototype_view([_row("a", [0, 0], 1.0), _row("b", [3, 4], 3.0)], [_row("flag 1", [0, 8], 50.0)])
    assert view.names == ("a", "b", "flag 1")
    np.testing.assert_allclose(view.distance, np.array([[0, 5, 8], [5, 0, 5], [8, 5, 0]]) / 2, rtol=1e-6)
    assert view.drift is None


def test_similar_prototypes_stand_side_by_side():
    points = np.array([[0.0], [100.0], [1.0], [101.0]])
    order = list(similarity_order(np.abs(points - points.T)))
    assert abs(order.index(0) - order.index(2)) == 1 and abs(order.index(1) - order.index(3)) == 1


@pytest.mark.parametrize("k", [0, 1, 2])
def test_few_prototypes_have_a_table_too(k):
    view = prototype_view([_row(str(i), [i, 0]) for i in range(k)], [])
    assert view.order == tuple(range(k)) and view.distance.shape == (k, k)


def test_drift_is_a_share_of_the_distance_between_prototypes():
    before = {"a": np.zeros(2), "b": np.array([10.0, 0]), "gone": np.ones(2)}
    after = {"a": np.array([1.0, 0]), "b": np.array([11.0, 0]), "new": np.ones(2)}
    assert drift_between(before, after) == pytest.approx(0.1)
    assert drift_between({"a": np.zeros(2)}, after) is None


def test_types_of_one_cell_each_are_measured_in_latent_units():
    view = prototype_view([_row("a", [0, 0], 0.0), _row("b", [3, 4], 0.0)], [])
    assert view.distance[0, 1] == pytest.approx(5)


def test_each_prototypes_own_drift_is_told_since_and_flags_have_none():
    rows = [_row("a", [1, 0]), _row("b", [11, 0]), _row("new", [5, 0])]
    before = {"a": np.zeros(2), "b": np.array([7.0, 3.0]), "gone": np.ones(2)}
    view = prototype_view(rows, [_row("flag 1", [3, 3])], since=("epoch 3, step 70", before))
    # The mean distance is that between the two that were there before: 10.
    assert view.drifts == (pytest.approx(0.1), pytest.approx(0.5), None, None)
    assert view.since == "epoch 3, step 70" and view.drift is None
