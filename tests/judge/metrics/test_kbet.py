import numpy as np
import pytest
from scipy import sparse
from scipy.stats import chisquare

from latents import mixed_latent
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics import diffusion
from livelatent.judge.metrics.diffusion import diffusion_space
from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.kbet import acceptance, kbet
from livelatent.judge.metrics.knn_graph import knn_graph


def test_a_neighbourhood_is_accepted_where_a_chi_squared_test_does_not_reject_it():
    latent, _, batch, _ = mixed_latent()
    index = knn_graph(latent, 30).index
    share = np.bincount(batch) / len(batch)
    p_value = [chisquare(np.bincount(batch[own], minlength=3), share * 30).pvalue for own in index]
    assert acceptance(index, batch) == np.mean(np.array(p_value) >= 0.05)
    assert 0.05 < acceptance(index, batch) < 0.95
    uneven = np.array([1, 5, 9])
    p_value = [chisquare(np.bincount(batch[own], minlength=3), uneven * 2).pvalue for own in index]
    assert acceptance(index, batch, uneven) == np.mean(np.array(p_value) >= 0.05)


def test_diffusion_distances_are_those_of_all_steps_together():
    latent, _, _, _ = mixed_latent()
    links = fuzzy_graph(knn_graph(latent[:80], 15)).toarray()
    density = links.sum(axis=0)
    kernel = links / np.outer(density, density)
    root = np.sqrt(kernel.sum(axis=0))
    step = kernel / np.outer(root, root)
    stationary = np.outer(root, root) / (root @ root)
    # Steps 1, 2, ... without the stationary state add up to (1 - moving)^-1 - 1.
    moving = step - stationary
    every = np.linalg.inv(np.eye(80) - moving) - np.eye(80)
    space = diffusion_space(sparse.csr_matrix(links)).astype(np.float64)
    got, wanted = (np.linalg.norm(x[:, None] - x[None], axis=2) for x in (space, every))
    np.testing.assert_allclose(got, wanted, atol=2e-3 * wanted.max())


def test_many_cells_have_the_same_space_as_few(monkeypatch):
    latent, _, _, _ = mixed_latent()
    links = fuzzy_graph(knn_graph(latent[:300], 15))
    dense = diffusion_space(links)
    monkeypatch.setattr(diffusion, "DENSE_CELLS", 0)
    iterated = diffusion_space(links)
    got, wanted = (np.linalg.norm(x[:50, None] - x[None], axis=2) for x in (iterated, dense))
    np.testing.assert_allclose(got, wanted, atol=1e-3 * wanted.max())


def test_mixed_batches_are_accepted_and_separate_ones_are_not():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(300, 3)).astype(np.float32)
    label = np.repeat([0, 1], [180, 120])
    latent += 30 * label[:, None].astype(np.float32)
    mixed = rng.choice(2, 300, p=[0.7, 0.3])
    by_place = (latent[:, 0] - 30 * label > 0.3).astype(int)
    links = fuzzy_graph(knn_graph(latent, 50))
    assert kbet(links, label, mixed) > 0.85
    assert kbet(links, label, by_place) < 0.3
    # Label 1 is of one batch and says nothing.
    alone = np.where(label == 1, 0, mixed)
    assert kbet(links, label, alone) == pytest.approx(kbet(links[:180][:, :180], label[:180], mixed[:180]))
    with pytest.raises(UndefinedMetricError, match="10 cells and 2 batches"):
        kbet(links, label, label)


def test_batches_that_lie_in_separate_pieces_are_rejected_and_crumbs_count_as_no_mixing():
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(240, 3)).astype(np.float32)
    label, mixed = np.zeros(240, int), rng.choice(2, 240)
    halves = np.repeat([0, 1], 120)
    apart = fuzzy_graph(knn_graph(latent + 500 * halves[:, None].astype(np.float32), 30))
    assert kbet(apart, label, halves) == 0
    assert kbet(apart, label, mixed) > 0.8  # each piece mixes for itself
    crumbs = fuzzy_graph(knn_graph(latent + 500 * (np.arange(240) // 20)[:, None].astype(np.float32), 15))
    assert kbet(crumbs, label, mixed) == 0
