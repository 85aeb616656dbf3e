"""The three novelty scores on arrays."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from livelatent.judge.novelty.knn import fit_knn
from livelatent.judge.novelty.mahalanobis import fit_mahalanobis
from livelatent.judge.novelty.synthetic import fit_synthetic

torch.set_num_threads(1)


def cells(sizes=(60, 40, 20), dims=6, seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    centre = 4 * np.eye(max(dims, len(sizes)))[label, :dims]
    return (centre + rng.normal(size=(len(label), dims))).astype(np.float32), label


def test_score_1_is_the_knn_distance_over_the_predicted_types_median():
    latent, label = cells()
    query = np.random.default_rng(9).normal(size=(7, 6)).astype(np.float32)
    predicted = np.array([0, 1, 2, 2, 1, 0, 0])
    unit, unit_query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (latent, query))
    neighbours = NearestNeighbors(n_neighbors=10).fit(unit)
    own = neighbours.kneighbors()[0].mean(axis=1)
    scale = np.array([np.median(own[label == code]) for code in range(3)])
    wanted = neighbours.kneighbors(unit_query)[0].mean(axis=1) / scale[predicted]
    np.testing.assert_allclose(fit_knn(latent, label, 3).score(query, predicted), wanted, rtol=1e-4)


def test_score_2_is_the_smallest_mahalanobis_distance_with_one_ledoit_wolf_covariance():
    pcs, label = cells()
    query = np.random.default_rng(9).normal(size=(5, 6)).astype(np.float32)
    means = np.stack([pcs[label == code].mean(axis=0) for code in range(3)]).astype(float)
    precision = LedoitWolf(assume_centered=True).fit(pcs - means[label]).precision_
    wanted = [min(mahalanobis(x, mean, precision) for mean in means) for x in query]
    np.testing.assert_allclose(fit_mahalanobis(pcs, label, 4).score(query), wanted, rtol=1e-4)


def test_score_3_finds_mixtures_of_two_types_and_cells_beyond_all():
    pcs, label = cells((150, 150, 150))
    rng = np.random.default_rng(1)
    score = fit_synthetic(pcs, label).score
    fresh, _ = cells((50, 50, 50), seed=5)
    mixed = (pcs[rng.integers(0, 150, 60)] + pcs[rng.integers(150, 300, 60)]) / 2
    beyond = pcs[rng.integers(0, 150, 60)] * 2
    for strange in (mixed, beyond):
        known = np.r_[np.zeros(len(fresh)), np.ones(len(strange))]
        assert roc_auc_score(known, np.r_[score(fresh), score(strange)]) > 0.85


def test_score_3_is_the_same_for_the_same_seed_and_leaves_torchs_random_state_alone():
    pcs, label = cells()
    state = torch.get_rng_state()
    one, two, other = (fit_synthetic(pcs, label, seed=seed).score(pcs) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0


@pytest.mark.parametrize("sizes", [(1,), (2,), (1, 1), (1, 2, 30), (40, 1)])
def test_tiny_types_give_finite_scores(sizes):
    x, label = cells(sizes)
    query = np.random.default_rng(9).normal(size=(5, 6)).astype(np.float32)
    predicted = np.zeros(5, np.int64)
    for scores in (
        fit_knn(x, label, len(sizes)).score(query, predicted),
        fit_mahalanobis(x, label, len(sizes)).score(query),
        fit_synthetic(x, label, n_networks=1).score(query),
    ):
        assert scores.shape == (5,)
        assert np.isfinite(scores).all()
