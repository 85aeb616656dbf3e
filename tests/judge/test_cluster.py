import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from livelatent.judge import cluster
from livelatent.judge.cluster import cluster_tree, join_space


def clouds(sizes, dims=12, apart=12.0, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    centre = rng.normal(size=(len(sizes), dims))
    centre *= apart / np.linalg.norm(centre, axis=1, keepdims=True)
    return (centre[kind] + rng.normal(size=(len(kind), dims))).astype(np.float32), kind


def roots(tree):
    """The cluster of each cell by the largest nodes."""
    largest = [max((i for i in range(len(tree.nodes)) if tree.nodes[i, p]), key=lambda i: tree.nodes[i].sum())
               for p in range(tree.nodes.shape[1])]  # fmt: skip
    return np.array(largest)[tree.piece]


@pytest.mark.parametrize("seed", range(3))
def test_separate_clouds_are_never_joined_and_a_homogeneous_one_is_never_left_in_pieces(seed):
    space, kind = clouds([150, 60, 25], seed=seed)
    tree = cluster_tree(space, seed=seed)
    assert adjusted_rand_score(kind, roots(tree)) == 1
    assert tree.nodes.shape[1] > 3  # Leiden alone does cut them


def test_any_two_nodes_are_nested_or_disjoint():
    nodes = cluster_tree(clouds([80, 80], apart=3)[0]).nodes
    for one in nodes:
        for other in nodes:
            both = one & other
            assert not both.any() or (both == one).all() or (both == other).all()


def test_the_same_seed_gives_the_same_tree_and_leaves_random_states_alone():
    import random

    space, _ = clouds([90, 40])
    random.seed(1)
    np.random.seed(1)
    wanted = (random.getstate(), np.random.get_state()[1].tolist())
    one, two = cluster_tree(space, seed=5), cluster_tree(space, seed=5)
    np.testing.assert_array_equal(one.piece, two.piece)
    np.testing.assert_array_equal(one.nodes, two.nodes)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == wanted


def test_beyond_the_limit_the_rest_joins_its_nearest_cluster(monkeypatch):
    monkeypatch.setattr(cluster, "CLUSTER_CELLS", 120)
    space, kind = clouds([300, 100])
    assert adjusted_rand_score(kind, roots(cluster_tree(space))) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_handful_of_cells_is_clustered(n):
    tree = cluster_tree(np.eye(n, 4, dtype=np.float32))
    assert tree.piece.shape == (n,)


def test_latent_and_components_weigh_the_same_whatever_their_units():
    rng = np.random.default_rng(0)
    latent, pcs = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(50, 7)).astype(np.float32)
    space = join_space(latent, pcs)
    np.testing.assert_allclose(space, join_space(latent, 1000 * pcs), rtol=1e-4, atol=1e-5)
    for part in (space[:, :4], space[:, 4:]):
        assert (part**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
