import numpy as np
import pytest

from livelatent.judge.novelty.thesis import likelihood, precision_and_coverage, threshold_curve


def test_the_documents_own_counts_give_its_precision_and_coverage():
    precision, coverage = precision_and_coverage(74, 17, 225)
    assert round(precision, 2) == 0.81
    assert round(coverage, 2) == 0.33
    # The same from likelihoods: 225 folds with novel cells, 74 of them below .25, and 17 of those without.
    least = np.r_[np.full(74, 0.1), np.full(151, 0.9), np.full(17, 0.2), np.full(208, 0.25)]
    curve = threshold_curve(least, np.arange(450) < 225, np.array([0.25]))
    assert curve[["n_true", "n_false"]].to_numpy().tolist() == [[74, 17]]
    assert curve["precision"].round(2).tolist() == [0.81]
    assert curve["coverage"].round(2).tolist() == [0.33]


@pytest.mark.parametrize("n_labels", [2, 3, 9])
def test_the_likelihood_is_0_where_all_types_are_alike_and_1_where_one_is_sure(n_labels):
    logits = np.zeros((3, n_labels))
    logits[1, -1] = 1000.0
    logits[2, 0] = np.log(n_labels)  # softmax n / (2n - 1)
    got = likelihood(logits + 7.0)
    wanted = (n_labels / (2 * n_labels - 1) - 1 / n_labels) / (1 - 1 / n_labels)
    np.testing.assert_allclose(got, [0, 1, wanted], atol=1e-12)


def test_a_curve_counts_as_a_loop_does():
    rng = np.random.default_rng(4)
    values, new = rng.integers(0, 11, 80) / 10, rng.random(80) < 0.4
    curve = threshold_curve(values, new)
    for row in curve.itertuples():
        below = values < row.threshold
        assert row.n_true == (below & new).sum()
        assert row.n_false == (below & ~new).sum()
        assert row.coverage == pytest.approx((below & new).sum() / new.sum())
        if below.any():
            assert row.precision == pytest.approx((below & new).sum() / below.sum())
    assert np.isnan(threshold_curve(np.ones(2), np.array([True, False]))["precision"]).all()


def test_one_type_and_no_novel_cell_are_errors():
    with pytest.raises(ValueError, match="at least 2; this classifier has 1"):
        likelihood(np.zeros((4, 1)))
    with pytest.raises(ValueError, match="needs at least 1"):
        precision_and_coverage(0, 3, 0)
