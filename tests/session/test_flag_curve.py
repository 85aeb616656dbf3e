from dataclasses import dataclass, field

import numpy as np
import pytest

from livelatent.session.flag_curve import flag_curve

RNG = np.random.default_rng(3)


@dataclass(frozen=True)
class Scored:
    rows: np.ndarray
    p_value: np.ndarray
    known_types: tuple = ("B", "T")
    method: str = "combined"
    extra: dict = field(default_factory=dict)


@pytest.fixture
def scored():
    """300 known cells, evenly strange, and 40 of a new type, mostly stranger; every third cell has a label."""
    p_value = np.concatenate([RNG.uniform(size=300), RNG.uniform(high=0.1, size=40)])
    truth = np.array(["B", "T"] * 150 + ["new"] * 40, dtype=object)
    rows = RNG.permutation(500)[:340]
    label = np.full(500, None, object)
    label[rows] = truth
    label[rows[1::3]] = None
    return Scored(rows, p_value), label


def test_counts_and_shares_are_those_of_counting_cells_one_by_one(scored):
    novelty, label = scored
    curve = flag_curve([novelty], [label], 0.05)
    assert 0.05 in curve.target_fpr and list(curve.target_fpr) == sorted(curve.target_fpr)
    names = label[novelty.rows]
    n_new = sum(name == "new" for name in names)
    for i, target in enumerate(curve.target_fpr):
        flagged = [p <= target for p in novelty.p_value]
        assert curve.n_flagged[i] == sum(flagged)
        assert curve.by_chance[i] == pytest.approx(340 * target)
        true = sum(f and name == "new" for f, name in zip(flagged, names, strict=True))
        false = sum(f and name in ("B", "T") for f, name in zip(flagged, names, strict=True))
        assert curve.coverage[i] == pytest.approx(true / n_new)
        assert curve.precision[i] == (pytest.approx(true / (true + false)) if true + false else None)
    assert curve.of.startswith(f"Precision and coverage are of {sum(n is not None for n in names)} labelled cells")


def test_where_no_new_type_is_named_no_precision_is_made_up(scored):
    novelty, label = scored
    label[label == "new"] = None
    curve = flag_curve([novelty], [label], 0.05)
    assert curve.precision == curve.coverage == ()
    assert "not known" in curve.of and "no scored cell bears the name of a new type" in curve.of
    assert len(curve.n_flagged) == len(curve.target_fpr)


def test_where_no_known_cell_is_labelled_no_precision_is_made_up(scored):
    novelty, label = scored
    label[label != "new"] = None
    assert "0 scored cells are of a known type" in flag_curve([novelty], [label], 0.05).of


def test_a_rule_that_promises_no_rate_has_no_line_of_chance(scored):
    novelty, label = scored
    thesis = Scored(novelty.rows, novelty.p_value, method="thesis")
    assert flag_curve([thesis], [label], 0.05).by_chance == ()


def test_before_anything_is_scored_there_is_no_curve():
    assert flag_curve([None, None], [np.empty(0, object)] * 2, 0.05).target_fpr == ()
