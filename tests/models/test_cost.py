import time

import pytest
import torch

from livelatent.models.cellular import Cellular
from livelatent.models.cost import cpu_seconds_per_epoch

torch.set_num_threads(1)


def test_a_cost_is_within_reach_of_what_a_step_takes(tiny_atlas):
    model = Cellular(tiny_atlas, encoder="genes", n_genes=80, n_latent=8)
    hash_before = model.sha256()
    told = cpu_seconds_per_epoch(model, 8 * 30)
    x = torch.rand(8, 80)
    started = time.process_time()
    model.encoder(x).sum().backward()
    taken = 30 * (time.process_time() - started)
    # Shared machines: a factor of four, where another depth or width would give ten.
    assert taken / 4 < told < taken * 4
    assert cpu_seconds_per_epoch(model, 0) == 0
    assert model.sha256() == hash_before


def test_a_minibatch_in_chunks_costs_a_forward_pass_more(tiny_atlas, monkeypatch):
    model = Cellular(tiny_atlas, encoder="genes", n_genes=20, n_latent=4, depth=1)
    clock = iter([0.0, 9.0, 10.0, 12.0] * 2)
    monkeypatch.setattr("livelatent.models.cost.time.process_time", lambda: next(clock))
    chunk_cells = model.encoder.chunk_cells
    assert cpu_seconds_per_epoch(model, 100, minibatch_cells=chunk_cells) == pytest.approx(50)  # 2 s for 4 cells
    assert cpu_seconds_per_epoch(model, 100, minibatch_cells=chunk_cells + 1) == pytest.approx(200 / 3)
