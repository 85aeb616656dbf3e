import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from livelatent.errors import LabelError
from livelatent.judge.logistic import fit_logistic


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 200)
    return rng.normal(size=(200, 6)) + label[:, None] * [1, 0, -1, 0, 0.5, 0], label


@pytest.mark.parametrize("types", [[0, 1, 2], [0, 2]])
def test_probabilities_are_scikit_learns(data, types):
    x, label = data
    kept = np.isin(label, types)
    got = fit_logistic(x[kept], label[kept], 4)
    wanted = LogisticRegression(C=1.0, max_iter=500).fit(x[kept], label[kept]).predict_proba(x)
    proba = np.exp(got.log_proba(x))
    np.testing.assert_allclose(proba[:, types], wanted, atol=1e-6)
    assert np.delete(proba, types, axis=1).max() < 1e-20


def test_sparse_and_dense_agree_and_cells_without_a_label_are_left_out(data):
    x, label = data
    label = np.where(np.arange(200) % 5 == 0, -1, label)
    dense, sparse = fit_logistic(x, label, 3), fit_logistic(sp.csr_matrix(x), label, 3)
    np.testing.assert_allclose(dense.coef, sparse.coef, atol=1e-3)
    known = fit_logistic(x[label >= 0], label[label >= 0], 3)
    np.testing.assert_array_equal(dense.coef, known.coef)


def test_one_type_is_certain_and_none_is_refused(data):
    x, _ = data
    only = fit_logistic(x, np.full(200, 1), 3)
    assert set(only.predict(x)) == {1}
    with pytest.raises(LabelError, match="none of these has a label"):
        fit_logistic(x, np.full(200, -1), 3)
