import numpy as np
import pytest
from sklearn.metrics import silhouette_samples as sklearn_silhouette

from latents import mixed_latent
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics import silhouette
from livelatent.judge.metrics.silhouette import silhouette_samples
from livelatent.judge.metrics.silhouette_batch import silhouette_batch
from livelatent.judge.metrics.silhouette_label import silhouette_label


@pytest.mark.parametrize("slab_bytes", [1, 50_000, 1 << 23])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_widths_are_scikit_learns_however_the_cells_are_cut(monkeypatch, slab_bytes, shift):
    monkeypatch.setattr(silhouette, "SLAB_BYTES", slab_bytes)
    latent, label, _, _ = mixed_latent()
    points, label = latent[:150] + np.float32(shift), 3 * label[:150] + 7
    label[5] = 99  # alone
    np.testing.assert_allclose(silhouette_samples(points, label), sklearn_silhouette(points, label), atol=2e-5)
    assert silhouette_samples(points, label)[5] == 0


def test_doubles_of_a_cell_are_no_distance_apart():
    points = np.repeat(np.random.default_rng(0).normal(size=(3, 5)), 4, axis=0).astype(np.float32)
    np.testing.assert_allclose(silhouette_samples(points, np.repeat([0, 1, 2], 4)), 1, atol=1e-12)
    # Both groups on both points: as far from their own as from the other.
    halves = silhouette_samples(points[:8], np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    np.testing.assert_allclose(halves, sklearn_silhouette(points[:8], [0, 0, 1, 1, 0, 0, 1, 1]), atol=1e-6)
    np.testing.assert_array_equal(silhouette_samples(points[:4], np.array([0, 1, 0, 1])), 0)


def test_one_group_has_no_silhouette():
    with pytest.raises(ValueError, match="at least 2; got 1"):
        silhouette_samples(np.ones((3, 2), np.float32), np.zeros(3, int))


def test_by_label_the_mean_is_rescaled():
    assert silhouette_label(np.array([-1.0, 0.5, 1.0, 0.5])) == pytest.approx((0.25 + 1) / 2)


def test_by_batch_labels_count_alike_and_those_that_say_nothing_are_left_out():
    latent, label, batch, _ = mixed_latent()
    label = label.copy()
    label[:3], batch = 5, batch.copy()
    batch[:3] = [0, 1, 2]  # one cell per batch
    batch[label == 3] = 1  # one batch
    wanted = [
        (1 - np.abs(sklearn_silhouette(latent[label == code], batch[label == code]))).mean() for code in (0, 1, 2, 4)
    ]
    assert silhouette_batch(latent, label, batch) == pytest.approx(np.mean(wanted), abs=1e-6)
    assert np.ptp(wanted) > 0.02
    with pytest.raises(UndefinedMetricError, match="there is none"):
        silhouette_batch(latent, label, label)
