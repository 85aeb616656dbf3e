import numpy as np
import pytest

from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.isolated_labels import isolated_asw, isolated_f1, isolated_labels

LABEL = np.array([0, 0, 0, 2, 2, 2, 7, 7])
BATCH = np.array([0, 1, 4, 0, 0, 1, 4, 1])


def test_labels_of_the_fewest_batches_are_isolated():
    assert isolated_labels(LABEL, BATCH).tolist() == [2, 7]
    assert isolated_labels(LABEL, np.where(LABEL == 7, 4, BATCH)).tolist() == [7]
    assert isolated_labels(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])).tolist() == [0, 1]


def test_their_silhouettes_are_averaged_label_by_label():
    width = np.array([9, 9, 9, 0.1, 0.3, 0.8, -1, 0.5])
    assert isolated_asw(width, LABEL, np.array([2, 7])) == pytest.approx(((1 + 0.4) / 2 + (1 - 0.25) / 2) / 2)


def test_the_best_cluster_of_any_clustering_counts():
    coarse, fine = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.array([2, 2, 0, 1, 1, 0, 4, 3])
    # Label 2: cluster 1 of the coarse has precision 3/4, recall 1; label 7: one cell of its own, recall 1/2.
    wanted = [2 * 0.75 / 1.75, 2 * 0.5 / 1.5]
    assert isolated_f1([coarse, fine], LABEL, np.array([2, 7])) == pytest.approx(np.mean(wanted))


def test_one_batch_isolates_no_label():
    isolated = isolated_labels(LABEL, np.zeros(8, int))
    with pytest.raises(UndefinedMetricError, match="needs at least 2; got 1"):
        isolated_asw(np.zeros(8), LABEL, isolated)
    with pytest.raises(UndefinedMetricError, match="needs at least 2; got 1"):
        isolated_f1([LABEL], LABEL, isolated)
