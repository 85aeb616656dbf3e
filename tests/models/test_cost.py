import pytest

from livelatent.models.cellular import Cellular
from livelatent.models.cost import cpu_seconds_per_epoch


def test_looking_at_a_cost_leaves_the_model_as_it_was(tiny_atlas):
    model = Cellular(tiny_atlas, encoder="genes", n_genes=80, n_latent=8)
    hash_before = model.sha256()
    assert cpu_seconds_per_epoch(model, 8 * 30) > cpu_seconds_per_epoch(model, 0) == 0
    assert model.sha256() == hash_before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_minibatch_in_chunks_costs_a_forward_pass_more(tiny_atlas, monkeypatch):
    model = Cellular(tiny_atlas, encoder="genes", n_genes=20, n_latent=4, depth=1)
    clock = iter([0.0, 9.0, 10.0, 12.0] * 2)
    monkeypatch.setattr("livelatent.models.cost.time.process_time", lambda: next(clock))
    chunk_cells = model.encoder.chunk_cells
    assert cpu_seconds_per_epoch(model, 100, minibatch_cells=chunk_cells) == pytest.approx(50)  # 2 s for 4 cells
    assert cpu_seconds_per_epoch(model, 100, minibatch_cells=chunk_cells + 1) == pytest.approx(200 / 3)
