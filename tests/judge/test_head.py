import numpy as np
import pytest
import torch

from livelatent.errors import LabelError
from livelatent.judge.head import HeadConfig, fit_head, tune_head


@pytest.fixture(scope="module")
def rings():
    """Two types in rings around each other, and a third beside: no plane parts the rings."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 900)
    angle, radius = rng.uniform(0, 2 * np.pi, 900), np.array([0.5, 2.0, 0.5])[label] + rng.normal(0, 0.1, 900)
    latent = np.stack([radius * np.cos(angle) + 5 * (label == 2), radius * np.sin(angle)], axis=1)
    return latent.astype(np.float32), np.where(rng.random(900) < 0.1, -1, label)


def test_it_parts_what_no_plane_does_and_its_log_probabilities_are_torchs(rings):
    latent, label = rings
    head = fit_head(latent, label, 4, HeadConfig(widths=(64, 32), epochs=40, minibatch_cells=64), seed=3)
    assert head.accuracy > 0.97
    known = label >= 0
    assert (head.log_proba(latent).argmax(axis=1) == label)[known].mean() > 0.97
    linear = torch.nn.functional.linear
    arrays = [torch.from_numpy(getattr(head, f"{kind}_{n}")) for n in (1, 2, 3) for kind in ("weight", "bias")]
    hidden = linear(linear(torch.from_numpy(latent), *arrays[:2]).relu(), *arrays[2:4]).relu()
    wanted = linear(hidden, *arrays[4:]).log_softmax(dim=1)
    np.testing.assert_allclose(head.log_proba(latent), wanted.numpy(), atol=1e-4)
    # A type without a cell is never the answer.
    assert head.log_proba(latent)[:, 3].max() < np.log(0.1)


def test_a_seed_gives_one_head_and_leaves_torchs_random_state_alone(rings):
    latent, label = rings
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    config = HeadConfig(widths=(8, 8), epochs=2)
    one, other = (fit_head(latent, label, 3, config, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one.weight_3, other.weight_3)
    assert not np.array_equal(one.weight_3, fit_head(latent, label, 3, config, seed=2).weight_3)


def test_one_type_is_refused(rings):
    latent, _ = rings
    with pytest.raises(LabelError, match="two types; got 1"):
        fit_head(latent, np.full(900, 2), 3)


def test_a_search_begins_at_the_default_and_is_never_worse(rings):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    latent, label = rings
    shares = []
    head, config = tune_head(latent[:300], label[:300], 3, n_trials=2, seed=1, progress=shares.append)
    assert shares == [0.5, 1.0]
    assert head.accuracy >= fit_head(latent[:300], label[:300], 3, seed=1).accuracy
    assert head.weight_2.shape == config.widths[::-1]


def test_without_optuna_the_extra_is_named(rings, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"\[tune\]"):
        tune_head(*rings, 3, n_trials=1)
