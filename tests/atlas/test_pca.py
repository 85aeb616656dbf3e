"""Components against scikit-learn."""

import numpy as np
import pytest

from livelatent.atlas import Atlas
from livelatent.atlas import pca as module
from livelatent.atlas.pca import pca
from oracles import log_counts


@pytest.mark.usefixtures("small_chunks")
def test_components_are_scikit_learns(tiny_atlas: Atlas) -> None:
    from sklearn.decomposition import PCA

    rows, genes = tiny_atlas.rows("train"), np.arange(0, 300, 3)
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)[:, genes]
    oracle = PCA(8, svd_solver="full").fit(x)
    got = pca(tiny_atlas, genes, 8, rows)
    np.testing.assert_allclose(got.variance, oracle.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(got.mean, oracle.mean_, rtol=1e-12, atol=1e-14)
    sign = np.sign((got.components * oracle.components_).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(got.components, sign * oracle.components_, atol=1e-7)
    np.testing.assert_allclose(got.transform(x), sign.T * oracle.transform(x), atol=1e-6)
    assert (got.components.max(axis=1) > -got.components.min(axis=1)).all()


@pytest.mark.parametrize("n_components", [0, 101])
def test_components_that_cannot_be_are_refused(tiny_atlas: Atlas, n_components: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.100"):
        pca(tiny_atlas, np.arange(100), n_components)


@pytest.mark.usefixtures("small_chunks")
def test_components_of_many_genes_are_scikit_learns_too(tiny_atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    monkeypatch.setattr(module, "EXACT_GENES", 100)
    rows, genes = tiny_atlas.rows("train"), np.arange(299, -1, -1)
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)[:, genes]
    oracle = PCA(5, svd_solver="full").fit(x)
    got = pca(tiny_atlas, genes, 5, rows)
    np.testing.assert_allclose(got.variance, oracle.explained_variance_, rtol=1e-7)
    np.testing.assert_allclose(got.mean, oracle.mean_, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got.components @ got.components.T, np.eye(5), atol=1e-12)
    assert np.rad2deg(subspace_angles(got.components.T, oracle.components_.T)).max() < 0.1
    assert np.array_equal(got.components, pca(tiny_atlas, genes, 5, rows).components)
