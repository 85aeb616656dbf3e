import numpy as np
import pytest
from scipy.optimize import brentq

from latents import mixed_latent
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics import lisi as room
from livelatent.judge.metrics.knn_graph import KnnGraph, knn_graph
from livelatent.judge.metrics.lisi import clisi, ilisi, lisi


def slow_lisi(graph, group, perplexity):
    """One cell at a time, the weights' bandwidth by Brent's method."""
    result = []
    for own, distance in zip(graph.index, graph.distance.astype(np.float64), strict=True):
        beyond = distance[1:] - distance[1]

        def weights(log_beta, beyond=beyond):
            weight = np.exp(-beyond * np.exp(log_beta))
            return weight / weight.sum()

        def entropy_off(log_beta, weights=weights):
            p = weights(log_beta)
            return -(p[p > 0] * np.log(p[p > 0])).sum() - np.log(perplexity)

        p = weights(brentq(entropy_off, -20, 20))
        result.append(1 / sum(p[group[own[1:]] == code].sum() ** 2 for code in np.unique(group)))
    return np.array(result)


@pytest.mark.parametrize("chunk_cells", [13, 4096])
def test_it_is_the_inverse_simpson_index_at_the_wanted_entropy(monkeypatch, chunk_cells):
    monkeypatch.setattr(room, "CHUNK_CELLS", chunk_cells)
    latent, label, batch, _ = mixed_latent()
    graph = knn_graph(latent[:120], 31)
    for group in (label[:120], 10 * batch[:120] - 4):
        np.testing.assert_allclose(lisi(graph, group), slow_lisi(graph, group, 10), rtol=2e-4)
    np.testing.assert_allclose(lisi(graph, batch[:120], 5.0), slow_lisi(graph, batch[:120], 5), rtol=2e-4)


def test_units_do_not_matter_also_where_every_weight_would_underflow():
    latent, _, batch, _ = mixed_latent()
    graph = knn_graph(latent, 90)
    wanted = lisi(graph, batch)
    for scale in (1e-4, 1e6):
        np.testing.assert_allclose(lisi(KnnGraph(graph.index, graph.distance * scale), batch), wanted, rtol=1e-4)


def test_neighbours_equally_far_weigh_the_same():
    index = np.array([[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3], [3, 0, 1, 2]])
    for far in (0.0, 1.0, 1e5):
        distance = np.where(np.arange(4) == 0, 0.0, far) * np.ones((4, 1))
        got = lisi(KnnGraph(index, distance), np.array([0, 0, 0, 1]))
        np.testing.assert_allclose(got, [1 / (4 / 9 + 1 / 9)] * 3 + [1])


def test_even_mixing_is_one_for_batches_and_separation_one_for_labels():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 300)
    latent = (rng.normal(size=(600, 3)) + 50 * label[:, None]).astype(np.float32)
    graph = knn_graph(latent, 90)
    assert clisi(graph, label) == pytest.approx(1)
    assert ilisi(graph, label) == pytest.approx(0)
    mixed = rng.permutation(np.repeat([3, 9], 300))
    assert ilisi(graph, mixed) == pytest.approx(0.93, abs=0.05)
    assert clisi(graph, mixed) == pytest.approx(1 - ilisi(graph, mixed))


@pytest.mark.parametrize("metric", [ilisi, clisi])
def test_one_group_has_no_index(metric):
    with pytest.raises(UndefinedMetricError, match="at least 2; got 1"):
        metric(knn_graph(np.eye(4, dtype=np.float32)), np.zeros(4, int))
