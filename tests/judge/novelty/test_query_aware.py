import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.query_aware import joint_components, query_aware_scores


def test_joint_components_are_scikit_learns_of_all_cells_up_to_sign():
    rng = np.random.default_rng(0)
    parts = [sp.random_array((n, 70), density=0.3, rng=rng).tocsr() for n in (90, 31, 44)]
    got = np.concatenate(joint_components([sp.csr_matrix(part) for part in parts]))
    whole = np.concatenate([part.toarray() for part in parts])
    wanted = PCA(50, svd_solver="full").fit_transform(whole)
    # Ascending here, descending there.
    np.testing.assert_allclose(np.abs(got[:, ::-1]), np.abs(wanted), atol=1e-6)


def test_cells_that_the_query_alone_has_score_high_and_known_ones_keep_their_rate():
    rng = np.random.default_rng(1)
    centre = 3 * np.eye(8)
    rates, found, ranks = [], [], []
    for trial in range(12):
        reference = centre[rng.integers(0, 3, 900)] + rng.normal(size=(900, 8))
        calibration = centre[rng.integers(0, 3, 300)] + rng.normal(size=(300, 8))
        known = centre[rng.integers(0, 3, 380)] + rng.normal(size=(380, 8))
        new = centre[5] + rng.normal(size=(40, 8))
        scores = query_aware_scores(reference, np.concatenate([calibration, known, new]), seed=trial)
        _, p_value = Conformal(scores[None, :300]).combine(scores[None, 300:])
        rates.append((p_value[:380] <= 0.05).mean())
        found.append((p_value[380:] <= 0.05).mean())
        ranks.append(roc_auc_score(np.arange(420) >= 380, scores[300:]))
    assert np.mean(ranks) > 0.95
    assert np.mean(found) > 0.7
    # 12 trials of 380 known cells against 300 calibration cells each.
    assert abs(np.mean(rates) - 0.05) < 4 * np.sqrt(0.05 * 0.95 * (1 / (12 * 380) + 1 / (12 * 300)))


def test_no_cell_is_scored_by_a_regression_that_it_trained():
    # Both sides are the same noise in many dimensions: whoever trains on a cell learns its side by heart.
    rng = np.random.default_rng(2)
    reference, asked = rng.normal(size=(2, 80, 60))
    by_heart = LogisticRegression(C=0.1).fit(np.concatenate([reference, asked]), np.repeat([0, 1], 80))
    assert by_heart.decision_function(asked).mean() > 0.4
    assert abs(query_aware_scores(reference, asked).mean()) < 0.25
