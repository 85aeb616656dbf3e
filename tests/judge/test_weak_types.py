import numpy as np

from livelatent.judge.novelty.mahalanobis import fit_mahalanobis
from livelatent.judge.weak_types import weak_types

CENTRE = np.array([[0.0, 0, 0, 0], [0.8, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0]])


def cells(sizes, seed):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    return (CENTRE[label] + rng.normal(size=(len(label), 4))).astype(np.float32), label


def test_close_types_are_weak_and_name_each_other_and_far_ones_are_found():
    pcs, label = cells((150, 120, 90, 4), 0)
    calibration, calibration_label = cells((60, 40, 30, 2), 1)
    score = fit_mahalanobis(pcs, label, 5)
    weak = weak_types(score, pcs, label, calibration, calibration_label)
    assert set(weak.hardest) == {0, 1}
    assert weak.nearest[:2].tolist() == [1, 0]
    assert weak.found[2] > 0.95
    # Too few cells, and none at all.
    assert np.isnan(weak.found[3:]).all()
    assert weak.nearest[3:].tolist() == [-1, -1]


def test_the_share_found_is_that_of_a_fit_without_the_types_mean():
    pcs, label = cells((150, 120, 90, 40), 2)
    calibration, calibration_label = cells((60, 40, 30, 20), 3)
    score = fit_mahalanobis(pcs, label, 4)
    weak = weak_types(score, pcs, label, calibration, calibration_label)
    for code in range(4):
        rest = [kind for kind in range(4) if kind != code]

        def distance(points, rest=rest):
            away = [(points - score.mean[kind]) @ score.whiten for kind in rest]
            return np.min([np.sqrt((one**2).sum(axis=1)) for one in away], axis=0)

        known = distance(calibration[calibration_label != code])
        new = distance(pcs[label == code])
        p = [(1 + (known >= one).sum()) / (len(known) + 1) for one in new]
        assert weak.found[code] == np.mean(np.array(p) <= 0.05)


def test_one_type_alone_has_nothing_to_hide_among():
    pcs, label = cells((30,), 4)
    assert np.isnan(weak_types(fit_mahalanobis(pcs, label, 1), pcs, label, pcs, label).found).all()
