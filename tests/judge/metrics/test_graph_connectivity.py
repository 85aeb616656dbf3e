import numpy as np
import pytest

from latents import mixed_latent
from livelatent.judge.metrics.graph_connectivity import graph_connectivity
from livelatent.judge.metrics.knn_graph import KnnGraph, knn_graph


def largest_piece(graph, own):
    """By walking: the most cells of `own` that links among them join."""
    links = {cell: set() for cell in own}
    for cell in own:
        for other in set(graph.index[cell].tolist()) & links.keys():
            links[cell].add(other)
            links[other].add(cell)
    best, seen = 0, set()
    for start in own:
        piece, front = {start}, [start]
        while front:
            fresh = links[front.pop()] - piece
            piece |= fresh
            front.extend(fresh)
        if start not in seen:
            best, seen = max(best, len(piece)), seen | piece
    return best


@pytest.mark.parametrize("k", [2, 3, 5])
def test_it_is_the_mean_share_of_the_largest_piece(k):
    latent, label, _, _ = mixed_latent()
    latent, label = latent[:200], label[:200]
    graph = knn_graph(latent, k)
    shares = [largest_piece(graph, np.flatnonzero(label == c).tolist()) / (label == c).sum() for c in range(5)]
    assert graph_connectivity(graph, label) == pytest.approx(np.mean(shares))
    assert min(shares) < 1


def test_a_cell_that_is_nobodys_neighbour_is_still_linked():
    index = np.array([[0, 1], [1, 0], [2, 0], [3, 4], [4, 3]])
    graph = KnnGraph(index, np.zeros((5, 2)))
    assert graph_connectivity(graph, np.array([0, 0, 0, 1, 1])) == 1
    assert graph_connectivity(graph, np.array([0, 0, 0, 0, 0])) == pytest.approx(3 / 5)
