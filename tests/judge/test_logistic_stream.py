"""Regressions fitted by passes reach scikit-learn's optimum."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from livelatent.errors import LabelError
from livelatent.judge.expression import log_genes
from livelatent.judge.logistic import Logistic
from livelatent.judge.logistic_stream import fit_gene_logistic, fit_logistic_passes
from livelatent.judge.projection import Projection


@pytest.mark.parametrize("on_components", [False, True])
def test_an_atlas_passed_over_in_chunks_gives_scikit_learns_probabilities(tiny_atlas, small_chunks, on_components):
    rows = np.sort(np.random.default_rng(0).choice(tiny_atlas.n_cells, 450, replace=False))
    genes = np.r_[np.arange(40, 100), -1, 3]
    own = genes[genes >= 0]
    projection = Projection.fit(tiny_atlas, genes, rows, 300.0) if on_components else None
    got = fit_gene_logistic(tiny_atlas, rows, genes, 300.0, projection=projection, max_in_memory=80)
    x = log_genes(tiny_atlas, rows, genes, 300.0)
    label = tiny_atlas.label[rows]
    dense = x.toarray() if projection is None else projection(x)
    assert dense[:, -1].any() and len(own) == 61
    plain = LogisticRegression(C=1.0, tol=1e-9, max_iter=10_000).fit(dense[label >= 0], label[label >= 0])
    proba = np.exp(got.log_proba(dense))
    np.testing.assert_allclose(proba, plain.predict_proba(dense), atol=8e-3)


def in_chunks(x, label):
    return lambda function: (function(x[k::3], label[k::3]) for k in range(3))


@pytest.mark.parametrize("types", [[0, 1, 3], [1, 3]])
def test_tight_tolerance_gives_its_very_coefficients_and_a_label_without_cells_none(types):
    rng = np.random.default_rng(1)
    label = rng.choice(types, 300)
    x = rng.normal(size=(300, 5)) + label[:, None] * [1, 0, -0.5, 0.2, 0]
    start = Logistic(np.zeros((4, 5), np.float32), np.zeros(4))
    got = fit_logistic_passes(in_chunks(x, label), np.bincount(label, minlength=4), start, tolerance=1e-9)
    plain = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, label)
    wanted = plain.coef_ if len(types) > 2 else np.vstack([np.zeros(5), plain.coef_[0]])
    np.testing.assert_allclose(got.coef[types], wanted, atol=1e-4)
    np.testing.assert_allclose(np.exp(got.log_proba(x))[:, types], plain.predict_proba(x), atol=1e-5)
    assert np.delete(np.exp(got.log_proba(x)), types, axis=1).max() < 1e-20


def test_no_labelled_cell_is_refused():
    start = Logistic(np.zeros((2, 3), np.float32), np.zeros(2))
    with pytest.raises(LabelError, match="none of these has a label"):
        fit_logistic_passes(lambda function: [], np.zeros(2, np.int64), start)
