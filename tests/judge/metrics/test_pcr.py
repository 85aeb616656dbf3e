import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from latents import mixed_latent
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.pcr import batch_variance, covariate_variance, pcr


def slow_share(points, covariate):
    """Equation 2.27 as it stands: a PCA, and a regression of each component."""
    fitted = PCA(svd_solver="full").fit(points)
    pcs = fitted.transform(points)
    r2 = [LinearRegression().fit(covariate, pc).score(covariate, pc) for pc in pcs.T]
    return (fitted.explained_variance_ * r2).sum() / fitted.explained_variance_.sum()


def test_the_share_of_batches_is_that_of_a_regression_of_every_component():
    latent, _, batch, before = mixed_latent()
    for points in (latent, before, before + 500):
        wanted = slow_share(points, np.eye(3)[batch])
        assert batch_variance(points, 4 * batch - 1) == pytest.approx(wanted, rel=1e-4)
    shares = batch_variance(before, batch), batch_variance(latent, batch)
    assert pcr(before, latent, batch) == pytest.approx((shares[0] - shares[1]) / shares[0])
    assert pcr(latent, before, batch) == 0  # batches explain more than before


def test_the_share_of_covariates_is_that_of_a_regression_too():
    latent, label, batch, _ = mixed_latent()
    covariate = np.stack([latent[:, 0] + label, np.sin(batch) + label / 3], axis=1)
    assert covariate_variance(latent, covariate) == pytest.approx(slow_share(latent, covariate), rel=1e-5)
    repeated = np.concatenate([covariate, covariate @ [[2], [1]], np.full((len(latent), 1), 3.0)], axis=1)
    assert covariate_variance(latent, repeated) == pytest.approx(covariate_variance(latent, covariate), rel=1e-9)
    assert covariate_variance(latent, np.ones((len(latent), 2))) == 0
    assert covariate_variance(latent, latent) == pytest.approx(1)


def test_what_it_compares_must_be_there():
    latent, _, batch, before = mixed_latent()
    with pytest.raises(UndefinedMetricError, match="at least 2; got 1"):
        pcr(before, latent, np.zeros_like(batch))
    with pytest.raises(UndefinedMetricError, match="expression"):
        pcr(None, latent, batch)
    with pytest.raises(UndefinedMetricError, match="they explain none"):
        pcr(np.array([[0.0], [1], [0], [1]]), np.ones((4, 1)), np.array([0, 0, 1, 1]))
    with pytest.raises(UndefinedMetricError, match="one point"):
        batch_variance(np.ones((4, 2)), np.array([0, 0, 1, 1]))
